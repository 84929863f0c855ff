// The serving image of the tests on a real node: answers as a model server does, and asks one.
//
//	model-server NAME --port PORT ...    serves /health and /v1/models; takes the options that vLLM is given
//	model-server post URL BODY           prints the answer to this JSON as it comes; the same exit code
//	model-server get URL                 prints what is there; exit code 1 if it is not a 200
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "get" {
		tell(client.Get(os.Args[2]))
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "post" {
		tell(client.Post(os.Args[2], "application/json", strings.NewReader(os.Args[3])))
		return
	}
	if len(os.Args) < 2 {
		log.Fatal("expected the name of a model")
	}
	options := flag.NewFlagSet("model-server", flag.ContinueOnError)
	options.Usage = func() {}
	host := options.String("host", "", "address on which it listens")
	port := options.Int("port", 8000, "where it listens")
	mebibytes := options.Int("fill-mebibytes", 0, "how much memory it fills before it listens")
	for _, unused := range []string{"max-num-seqs", "tensor-parallel-size", "shutdown-timeout", "served-model-name"} {
		options.String(unused, "", "taken and not used")
	}
	// A name without an option is one more of the served model.
	for rest := os.Args[1:]; len(rest) > 0; rest = options.Args() {
		if options.Parse(rest[1:]) != nil {
			os.Exit(2)
		}
	}
	filled := bytes.Repeat([]byte{1}, *mebibytes<<20)
	defer runtime.KeepAlive(filled)
	serve(os.Args[1], net.JoinHostPort(*host, strconv.Itoa(*port)))
}

func serve(model, address string) {
	// As the first process of a container it is not ended by a signal that it does not handle.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-ended; os.Exit(0) }()

	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/v1/models", func(answer http.ResponseWriter, _ *http.Request) {
		models := []map[string]string{{"id": model, "object": "model"}}
		_ = json.NewEncoder(answer).Encode(map[string]any{"object": "list", "data": models})
	})
	log.Fatal(http.ListenAndServe(address, nil))
}

var client = http.Client{Timeout: 30 * time.Second}

func tell(answer *http.Response, err error) {
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, io.LimitReader(answer.Body, 1<<20)); err != nil {
		log.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		log.Fatal(answer.Status)
	}
}

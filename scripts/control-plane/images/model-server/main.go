// The serving image of the tests on a real node: answers as a model server does, and asks one.
//
//	model-server NAME --port PORT ...    serves /health and /v1/models; takes the options that vLLM is given
//	model-server get URL                 prints what is there; exit code 1 if it is not a 200
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "get" {
		get(os.Args[2])
		return
	}
	if len(os.Args) < 2 {
		log.Fatal("expected the name of a model")
	}
	options := flag.NewFlagSet("model-server", flag.ExitOnError)
	host := options.String("host", "", "address on which it listens")
	port := options.Int("port", 8000, "where it listens")
	for _, unused := range []string{"max-num-seqs", "tensor-parallel-size", "shutdown-timeout", "served-model-name"} {
		options.String(unused, "", "taken and not used")
	}
	_ = options.Parse(os.Args[2:])
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

func get(url string) {
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
	if answer.StatusCode != http.StatusOK {
		log.Fatal(answer.Status)
	}
}

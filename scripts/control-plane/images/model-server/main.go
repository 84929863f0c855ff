// The serving image of the tests on a real node: answers as a model server does, and asks one.
//
//	model-server --model NAME --port PORT    serves /health and /v1/models
//	model-server get URL                     prints what is there; exit code 1 if it is not a 200
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "get" {
		get(os.Args[2])
		return
	}
	model := flag.String("model", "", "its name")
	port := flag.Int("port", 8000, "where it listens")
	flag.Int("max-num-seqs", 0, "taken and not used")
	flag.Parse()
	serve(*model, *port)
}

func serve(model string, port int) {
	// As the first process of a container it is not ended by a signal that it does not handle.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-ended; os.Exit(0) }()

	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/v1/models", func(answer http.ResponseWriter, _ *http.Request) {
		models := []map[string]string{{"id": model, "object": "model"}}
		_ = json.NewEncoder(answer).Encode(map[string]any{"object": "list", "data": models})
	})
	log.Fatal(http.ListenAndServe(fmt.Sprintf(":%d", port), nil))
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

// Reads an exposition of the given content type on standard input with Prometheus' own parser. Prints the models of the
// successes with their values as JSON.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func main() {
	exposition, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	parser, err := textparse.New(exposition, os.Args[1], labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		log.Fatal(err)
	}
	successes := [][]any{}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		parser.Labels(&series)
		_, _, value := parser.Series()
		if series.Get("__name__") == "prediction_requests_total" && series.Get("status") == "success" {
			successes = append(successes, []any{series.Get("model_name"), value})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(successes); err != nil {
		log.Fatal(err)
	}
}

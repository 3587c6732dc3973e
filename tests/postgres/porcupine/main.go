// Checks a history of snippets, given as JSON lines on stdin, for linearizability: tests/postgres/history.py describes the
// lines. Prints {"operations", "parts", "illegal": [key, …], "undecided": [key, …]}. With an argument, the illegal parts
// are drawn into HTML files in that folder.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const patience = 30 * time.Second // for one key

type line struct {
	Key       string `json:"key"`
	Client    int    `json:"client"`
	Operation string `json:"operation"` // create, get, update, delete
	IfVersion int    `json:"if_version"`
	A         *int   `json:"a"` // fields that a write sets, or that a read saw
	B         *int   `json:"b"`
	Outcome   string `json:"outcome"` // ok, conflict, not_found, unknown, late: not answered, but it did happen by End
	Id        string `json:"id"`
	Version   int    `json:"version"`
	Begin     int64  `json:"begin"`
	End       int64  `json:"end"`
}

// The snippet of one name. There is none while version is 0.
type snippet struct {
	id      string // "": an unknown create made it, and nobody has seen its id yet
	version int
	a, b    int
}

func value(field *int, otherwise int) int {
	if field == nil {
		return otherwise
	}
	return *field
}

func (s snippet) is(id string) bool { return s.version > 0 && (s.id == "" || id == "" || s.id == id) }

func step(state, input, output interface{}) (bool, interface{}) {
	s, op := state.(snippet), input.(line)
	unknown := op.Outcome == "unknown" // it may take effect here; if it never does it stands behind everything else
	switch op.Operation {
	case "get":
		if op.Outcome == "not_found" {
			return s.version == 0, s
		}
		if !s.is(op.Id) || s.version != op.Version || s.a != value(op.A, 0) || s.b != value(op.B, 0) {
			return false, s
		}
		s.id = op.Id
		return true, s
	case "create":
		if op.Outcome == "conflict" {
			return s.version > 0, s
		}
		if s.version > 0 {
			return unknown, s
		}
		return true, snippet{op.Id, 1, value(op.A, 0), value(op.B, 0)}
	case "update":
		fits := s.version > 0 && (op.IfVersion == 0 || op.IfVersion == s.version)
		switch op.Outcome {
		case "not_found":
			return s.version == 0, s
		case "conflict": // without a version: overtaken again and again, which is allowed
			return s.version > 0 && (op.IfVersion == 0 || !fits), s
		}
		if !fits || !s.is(op.Id) {
			return unknown, s
		}
		if op.Id != "" {
			s.id = op.Id
		}
		return true, snippet{s.id, s.version + 1, value(op.A, s.a), value(op.B, s.b)}
	case "delete":
		if op.Outcome == "not_found" {
			return s.version == 0, s
		}
		if !s.is(op.Id) {
			return unknown, s
		}
		return true, snippet{}
	}
	panic("unknown operation " + op.Operation)
}

func describe(input, _ interface{}) string {
	op := input.(line)
	text := op.Operation
	if op.IfVersion > 0 {
		text += fmt.Sprintf(" if %d", op.IfVersion)
	}
	if op.A != nil {
		text += fmt.Sprintf(" a=%d", *op.A)
	}
	if op.B != nil {
		text += fmt.Sprintf(" b=%d", *op.B)
	}
	text += " -> " + op.Outcome
	if op.Version > 0 {
		text += fmt.Sprintf(" %d", op.Version)
	}
	return text
}

var model = porcupine.Model{
	Init:              func() interface{} { return snippet{} },
	Step:              step,
	DescribeOperation: describe,
	DescribeState:     func(state interface{}) string { return fmt.Sprintf("%+v", state) },
}

func main() {
	histories := map[string][]porcupine.Operation{}
	order := []string{}
	count := 0
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var each line
		if err := json.Unmarshal(lines.Bytes(), &each); err != nil {
			panic(err)
		}
		end := each.End
		if each.Outcome == "unknown" {
			end = math.MaxInt64
		}
		if _, known := histories[each.Key]; !known {
			order = append(order, each.Key)
		}
		histories[each.Key] = append(histories[each.Key], porcupine.Operation{
			ClientId: each.Client, Input: each, Call: each.Begin, Output: each, Return: end,
		})
		count++
	}
	illegal, undecided := []string{}, []string{}
	for _, key := range order {
		switch porcupine.CheckOperationsTimeout(model, histories[key], patience) {
		case porcupine.Illegal:
			illegal = append(illegal, key)
			if len(os.Args) > 1 {
				_, info := porcupine.CheckOperationsVerbose(model, histories[key], patience)
				path := filepath.Join(os.Args[1], strings.ReplaceAll(key, "/", "-")+".html")
				if err := porcupine.VisualizePath(model, info, path); err != nil {
					panic(err)
				}
			}
		case porcupine.Unknown:
			undecided = append(undecided, key)
		}
	}
	report := map[string]interface{}{"operations": count, "parts": len(order), "illegal": illegal, "undecided": undecided}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		panic(err)
	}
}

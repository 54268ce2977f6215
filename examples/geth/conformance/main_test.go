package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"foreblock.example/geth/inference"
)

type vector struct {
	Name     string          `json:"name"`
	Question json.RawMessage `json:"question"`
	Answer   map[string]any  `json:"answer"`
}

// vectors reads the suite's cases, which this repository's own precompile answers, too.
func vectors(t *testing.T, group string) []vector {
	t.Helper()
	var file struct{ Cases []vector }
	read(t, filepath.Join("../../../tests/vectors/conformance", group+".json"), &file)
	return file.Cases
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func parsed(t *testing.T, v vector) question {
	t.Helper()
	var q question
	if err := json.Unmarshal(v.Question, &q); err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return q
}

func TestMain(m *testing.M) {
	inference.Keccak256 = keccak256
	os.Exit(m.Run())
}

func TestEveryCallAndIdOfTheSuite(t *testing.T) {
	asked := 0
	for _, group := range []string{"abi", "requests", "gas", "failures"} {
		for _, v := range vectors(t, group) {
			said := examine(parsed(t, v))
			if said == nil {
				continue
			}
			asked++
			text, _ := json.Marshal(said)
			var got map[string]any
			_ = json.Unmarshal(text, &got)
			if !reflect.DeepEqual(got, v.Answer) {
				t.Errorf("%s, %s:\n got %s\nwant %v", group, v.Name, text, v.Answer)
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d cases were asked", asked)
	}
}

// The vectors in the form of geth's own tests know neither state nor outcomes: those are the suite's case of the same name.
func TestVectorsInGethsForm(t *testing.T) {
	state := map[string]question{}
	for _, group := range []string{"abi", "gas"} {
		for _, v := range vectors(t, group) {
			state[v.Name] = parsed(t, v)
		}
	}
	var cases []struct {
		Name, Input, Expected string
		Gas                   uint64
	}
	read(t, "../testdata/inference.json", &cases)
	if len(cases) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range cases {
		q, known := state[c.Name]
		if !known {
			t.Fatalf("%s is no case of the suite", c.Name)
		}
		q.Calldata = c.Input
		said := call(q)
		if said["end"] != "return" || said["data"] != "0x"+c.Expected || said["gas"] != c.Gas {
			t.Errorf("%s: %v", c.Name, said)
		}
	}
}

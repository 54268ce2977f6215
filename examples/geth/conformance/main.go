// Serves the conformance suite's questions about calls, so that `foreblock conformance --lookup SOCKET` can ask this implementation, too.
package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"foreblock.example/geth/inference"
)

type question struct {
	Type      string             `json:"type"`
	Calldata  string             `json:"calldata"`
	Gas       uint64             `json:"gas"`
	Value     string             `json:"value"`
	Scheme    string             `json:"scheme"`
	Timestamp uint64             `json:"timestamp"`
	Storage   map[string]string  `json:"storage"`
	Warm      []string           `json:"warm"`
	Outcomes  map[string]outcome `json:"outcomes"`
	ModelID   string             `json:"modelId"`
	Input     string             `json:"input"`
}

type outcome struct {
	Output *string `json:"output"`
	Code   uint16  `json:"code"`
	Reason string  `json:"reason"`
}

func main() {
	inference.Keccak256 = keccak256
	if len(os.Args) == 3 && os.Args[1] == "lookup" {
		lookup(os.Args[2])
		return
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(conn)
	}
}

// lookup asks a sidecar for ids on standard input, one a line, through the client that geth would use.
func lookup(path string) {
	sidecar := &inference.Sidecar{Path: path, Patience: 5 * time.Second}
	for {
		var line string
		if _, err := fmt.Scanln(&line); err != nil {
			return
		}
		found, ok := sidecar.Lookup(word(line))
		fmt.Println(ok, "0x"+hex.EncodeToString(found.Output), found.Code, found.Reason)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	for {
		frame, err := inference.ReadFrame(conn)
		if err != nil {
			return
		}
		answer := append([]byte{0xff, 0, 7}, "this implementation does not do that"...)
		switch frame[0] {
		case 1: // hello: version 1, chain 1, the default address
			welcome := append([]byte{0x81, 0, 1}, make([]byte, 28)...)
			welcome[10], welcome[29], welcome[30] = 1, 0x1a, 0x0f
			answer = welcome
		case 6:
			var q question
			if json.Unmarshal(frame[1:], &q) == nil {
				if said := examine(q); said != nil {
					text, _ := json.Marshal(said)
					answer = append([]byte{0x86}, text...)
				}
			}
		}
		length := binary.BigEndian.AppendUint32(nil, uint32(len(answer)))
		if _, err := conn.Write(append(length, answer...)); err != nil {
			return
		}
	}
}

func examine(q question) map[string]any {
	switch q.Type {
	case "call":
		return call(q)
	case "id":
		model := word(q.ModelID)
		id := inference.RequestID(model[:], unhex(q.Input))
		return map[string]any{"requestId": text(id[:])}
	}
	return nil
}

func call(q question) map[string]any {
	warm := map[[32]byte]bool{}
	for _, key := range q.Warm {
		warm[word(key)] = true
	}
	storage := map[[32]byte][32]byte{}
	for key, value := range q.Storage {
		storage[word(key)] = word(value)
	}
	outcomes := map[[32]byte]inference.Outcome{}
	for id, o := range q.Outcomes {
		found := inference.Outcome{Code: o.Code, Reason: o.Reason}
		if o.Output != nil {
			found.Output = unhex(*o.Output)
		}
		outcomes[word(id)] = found
	}
	value := word(q.Value)
	c := &inference.Call{
		Data: unhex(q.Calldata), Gas: q.Gas, Value: new(big.Int).SetBytes(value[:]), Direct: q.Scheme != "delegatecall", Time: q.Timestamp,
		Load: func(key [32]byte) ([32]byte, bool) {
			cold := !warm[key]
			warm[key] = true
			return storage[key], cold
		},
		Lookup: func(id [32]byte) (inference.Outcome, bool) {
			found, ok := outcomes[id]
			return found, ok
		},
	}
	ret, gas, err := c.Run()
	used := []string{}
	for _, id := range c.Used {
		used = append(used, text(id[:]))
	}
	switch err {
	case inference.ErrOutOfGas:
		return map[string]any{"end": "out of gas"}
	case inference.ErrMissing:
		return map[string]any{"end": "abort", "missing": text(c.Missing[:])}
	case inference.ErrReverted:
		return map[string]any{"end": "revert", "gas": gas, "data": text(ret), "used": used}
	}
	return map[string]any{"end": "return", "gas": gas, "data": text(ret), "used": used}
}

func text(data []byte) string { return "0x" + hex.EncodeToString(data) }

func unhex(text string) []byte {
	text = strings.TrimPrefix(text, "0x")
	if len(text)%2 == 1 {
		text = "0" + text
	}
	data, _ := hex.DecodeString(text)
	return data
}

func word(text string) (w [32]byte) {
	data := unhex(text)
	copy(w[32-len(data):], data)
	return w
}

package inference

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// A sidecar that answers each lookup with the same body; no body is silence.
func beside(t *testing.T, path string, welcome, body []byte) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					frame, err := ReadFrame(conn)
					if err != nil {
						return
					}
					answer := body
					if frame[0] == 1 {
						answer = welcome
					}
					if answer == nil {
						continue
					}
					length := binary.BigEndian.AppendUint32(nil, uint32(len(answer)))
					if _, err := conn.Write(append(length, answer...)); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return listener
}

var (
	welcome = append([]byte{0x81, 0, 1}, make([]byte, 28)...)
	// abi.encode of no tensors.
	empty = append(word32(32), word32(0)...)
)

func word32(n byte) []byte { return append(make([]byte, 31), n) }

func found(tag byte, parts ...[]byte) []byte {
	return append([]byte{0x82, tag}, bytes.Join(parts, nil)...)
}

func sized(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		ok   bool
		want Outcome
	}{
		"an output":                 {found(1, sized(64), empty), true, Outcome{Output: empty}},
		"a failure":                 {found(2, []byte{0, 3}, sized(3), []byte("why")), true, Outcome{Code: 3, Reason: "why"}},
		"missing":                   {found(0), false, Outcome{}},
		"an output that is no list": {found(1, sized(1), []byte{7}), false, Outcome{}},
		"a failure without a code":  {found(2, []byte{0, 0}, sized(0)), false, Outcome{}},
		"a length that lies":        {found(1, sized(65), empty), false, Outcome{}},
		"another tag":               {found(9), false, Outcome{}},
		"another kind of answer":    {[]byte{0x83, 1}, false, Outcome{}},
		"a refusal":                 {append([]byte{0xff, 0, 6}, "another chain"...), false, Outcome{}},
		"silence":                   {nil, false, Outcome{}},
	} {
		path := filepath.Join(t.TempDir(), "s")
		beside(t, path, welcome, c.body)
		patience := 5 * time.Second
		if c.body == nil {
			patience = 20 * time.Millisecond
		}
		sidecar := &Sidecar{Path: path, Patience: patience}
		got, ok := sidecar.Lookup([32]byte{1})
		if ok != c.ok || !bytes.Equal(got.Output, c.want.Output) || got.Code != c.want.Code || got.Reason != c.want.Reason {
			t.Errorf("%s: %v %v", name, ok, got)
		}
	}
}

func TestASidecarOfAnotherChainIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	beside(t, path, append([]byte{0xff, 0, 2}, "chain 1"...), found(1, sized(64), empty))
	sidecar := &Sidecar{Path: path, ChainID: 7, Patience: 5 * time.Second}
	if _, ok := sidecar.Lookup([32]byte{}); ok {
		t.Error("it was believed")
	}
	if _, err := sidecar.List(nil); err == nil {
		t.Error("a list was taken")
	}
}

func TestASidecarThatComesBackIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sidecar := &Sidecar{Path: path, Patience: 5 * time.Second}
	if _, ok := sidecar.Lookup([32]byte{}); ok {
		t.Error("nobody listens")
	}
	beside(t, path, welcome, found(1, sized(64), empty))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, ok := sidecar.Lookup([32]byte{}); ok {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it was not found again")
		}
	}
}

func TestFramesThatAreNone(t *testing.T) {
	for _, frame := range [][]byte{nil, {0, 0, 0, 0}, {0xff, 0, 0, 0, 1}, {0, 0, 0, 2, 1}} {
		if _, err := ReadFrame(io.LimitReader(bytes.NewReader(frame), int64(len(frame)))); err == nil {
			t.Errorf("%x was read", frame)
		}
	}
}

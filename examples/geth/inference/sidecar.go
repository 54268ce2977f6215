package inference

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Sidecar is a connection to `foreblock sidecar` (docs/sidecar.md). Whatever goes wrong reads as a missing outcome: blocks go on without the
// transactions that ask, and the sidecar is found again when it is back.
type Sidecar struct {
	Path     string
	ChainID  uint64
	Patience time.Duration

	mutex  sync.Mutex
	conn   net.Conn
	closed time.Time
}

const reconnect = 200 * time.Millisecond

// Lookup finds an outcome.
func (s *Sidecar) Lookup(id [32]byte) (Outcome, bool) {
	body, err := s.ask(2, id[:])
	if err != nil || len(body) < 2 || body[0] != 0x82 {
		return Outcome{}, false
	}
	tag, rest := body[1], body[2:]
	var outcome Outcome
	switch tag {
	case 1:
	case 2:
		if len(rest) < 2 {
			return Outcome{}, false
		}
		outcome.Code, rest = binary.BigEndian.Uint16(rest), rest[2:]
		if outcome.Code == 0 || outcome.Code > 10 {
			return Outcome{}, false
		}
	default:
		return Outcome{}, false
	}
	if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) != uint64(len(rest)-4) {
		return Outcome{}, false
	}
	if tag == 2 {
		outcome.Reason = string(rest[4:])
	} else if outcome.Output = rest[4:]; checkInput(outcome.Output) != "" {
		return Outcome{}, false // no list can carry it
	}
	return outcome, true
}

// Wanted tells of a request that the builder missed.
func (s *Sidecar) Wanted(transaction, model [32]byte, input []byte) {
	_, _ = s.ask(3, append(append(transaction[:], model[:]...), input...))
}

// List is the encoded inference list of a block that used these.
func (s *Sidecar) List(used [][32]byte) ([]byte, error) {
	var ids []byte
	for _, id := range used {
		ids = append(ids, id[:]...)
	}
	body, err := s.ask(4, ids)
	if err != nil {
		return nil, err
	}
	if body[0] != 0x84 {
		return nil, errors.New("the sidecar refuses the list: " + string(body[1:]))
	}
	return body[1:], nil
}

func (s *Sidecar) ask(kind byte, body []byte) ([]byte, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.conn == nil {
		if time.Since(s.closed) < reconnect {
			return nil, errors.New("the sidecar is away")
		}
		if err := s.connect(); err != nil {
			s.close()
			return nil, err
		}
	}
	answer, err := s.exchange(kind, body)
	if err != nil {
		s.close() // a late answer must not be taken for the next one's
	}
	return answer, err
}

func (s *Sidecar) connect() (err error) {
	if s.conn, err = net.DialTimeout("unix", s.Path, s.Patience); err != nil {
		return err
	}
	hello := binary.BigEndian.AppendUint64([]byte("fbsc\x00\x01"), s.ChainID)
	answer, err := s.exchange(1, hello)
	if err == nil && answer[0] != 0x81 {
		err = errors.New("the sidecar refuses: " + string(answer[1:]))
	}
	return err
}

func (s *Sidecar) exchange(kind byte, body []byte) ([]byte, error) {
	if err := s.conn.SetDeadline(time.Now().Add(s.Patience)); err != nil {
		return nil, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(body)+1))
	if _, err := s.conn.Write(append(append(frame, kind), body...)); err != nil {
		return nil, err
	}
	return ReadFrame(s.conn)
}

// ReadFrame reads one frame, kind first.
func ReadFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > 16<<20 {
		return nil, errors.New("a frame of a length that is not allowed")
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func (s *Sidecar) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn, s.closed = nil, time.Now()
}

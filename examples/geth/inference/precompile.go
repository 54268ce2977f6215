// Package inference is the inference precompile for a client in Go, from docs/spec.md. It needs the standard library only: geth gives it
// keccak256, the registry's storage and a socket.
package inference

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/big"
)

const (
	base, inputWord, outputWord, copyWord, coldSlot, warmSlot = 3_000, 12, 137, 3, 2_100, 100
	updateFraction, one                                       = 254_710_000, 1_000_000
	excessMax                                                 = 20 * updateFraction
)

// Keccak256 is the client's; set it once, before the first call.
var Keccak256 func(data ...[]byte) []byte

// Errors by who reacts: the caller catches ErrReverted, its gas is gone with ErrOutOfGas, and the node aborts the transaction with ErrMissing.
var (
	ErrReverted = errors.New("execution reverted")
	ErrOutOfGas = errors.New("out of gas")
	ErrMissing  = errors.New("transaction not valid yet: an inference outcome is missing")
)

// Outcome of a request: an output, or a failure where Code is not 0.
type Outcome struct {
	Output []byte
	Code   uint16
	Reason string
}

// Call is one call of the precompile with all that its answer depends on.
type Call struct {
	Data   []byte
	Gas    uint64
	Value  *big.Int
	Direct bool   // CALL or STATICCALL
	Time   uint64 // of the block
	// Load reads a slot of ModelRegistry and makes it warm; whether it was cold.
	Load func(key [32]byte) (value [32]byte, cold bool)
	// Lookup finds an outcome; the sidecar's, or the block's list.
	Lookup func(id [32]byte) (Outcome, bool)

	used uint64
	// Missing is the request that aborted the call, with its model and input.
	Missing      [32]byte
	MissingModel [32]byte
	MissingInput []byte
	Used         [][32]byte
}

// Run answers the call: what comes back, and the gas that is used.
func (c *Call) Run() ([]byte, uint64, error) {
	ret, err := c.dispatch()
	return ret, c.used, err
}

func (c *Call) charge(gas uint64) error {
	if c.used+gas < gas {
		c.used = ^uint64(0)
	} else {
		c.used += gas
	}
	if c.used > c.Gas {
		return ErrOutOfGas
	}
	return nil
}

func words(length int) uint64 { return (uint64(length) + 31) / 32 }

func (c *Call) dispatch() ([]byte, error) {
	if err := c.charge(base + words(len(c.Data))*inputWord); err != nil {
		return nil, err
	}
	if !c.Direct {
		return revert(0xbcf62eb5)
	}
	if c.Value != nil && c.Value.Sign() != 0 {
		return revert(0xbe989ec4, word(c.Value))
	}
	if len(c.Data) < 4 {
		return revert(0x2d98cd51)
	}
	selector, args := binary.BigEndian.Uint32(c.Data), c.Data[4:]
	malformed := func() ([]byte, error) { return revert(0x2d98cd51) }
	switch selector {
	case 0xfa5f30c7: // run
		input, ok := dynamic(args, 1, 2)
		if !ok {
			return malformed()
		}
		outcome, ret, err := c.resolve(args[:32], input)
		if err != nil {
			return ret, err
		}
		if outcome.Code != 0 {
			return revert(0x309535de, number(uint64(outcome.Code)), number(64), tail([]byte(outcome.Reason)))
		}
		if err := c.charge(words(len(outcome.Output)) * outputWord); err != nil {
			return nil, err
		}
		return append(number(32), tail(outcome.Output)...), nil
	case 0xcde2af51: // runOr
		input, ok := dynamic(args, 1, 4)
		fallback, also := dynamic(args, 3, 4)
		if !ok || !also {
			return malformed()
		}
		return c.runOr(args, input, fallback)
	case 0xee19e84b: // model
		if len(args) < 32 {
			return malformed()
		}
		slot, err := c.slot(args[:32])
		if err != nil {
			return nil, err
		}
		if slot == nil {
			return make([]byte, 5*32), nil
		}
		info := [][]byte{number(1), number(slot.profile), number(slot.gas), number(slot.maxInput), number(slot.maxOutput)}
		return bytes.Join(info, nil), nil
	}
	return malformed()
}

func (c *Call) runOr(args, input, fallback []byte) ([]byte, error) {
	deadline := new(big.Int).SetBytes(args[64:96])
	if deadline.Cmp(new(big.Int).SetUint64(c.Time)) >= 0 {
		outcome, ret, err := c.resolve(args[:32], input)
		if err != nil {
			return ret, err
		}
		if outcome.Code == 0 {
			if err := c.charge(words(len(outcome.Output)) * outputWord); err != nil {
				return nil, err
			}
			return bytes.Join([][]byte{number(1), number(64), tail(outcome.Output)}, nil), nil
		}
	}
	if err := c.charge(words(len(fallback)) * copyWord); err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{number(0), number(64), tail(fallback)}, nil), nil
}

// resolve gives the outcome, or what the call ends with.
func (c *Call) resolve(model, input []byte) (*Outcome, []byte, error) {
	end := func(ret []byte, err error) (*Outcome, []byte, error) { return nil, ret, err }
	slot, err := c.slot(model)
	if err != nil {
		return end(nil, err)
	}
	if slot == nil {
		return end(revert(0xa2dc0625, model))
	}
	if uint64(len(input)) > slot.maxInput {
		return end(revert(0x1a4f0464, number(uint64(len(input))), number(slot.maxInput)))
	}
	excess, err := c.load([32]byte{31: 1})
	if err != nil {
		return end(nil, err)
	}
	tokens := uint64(1)
	if slot.profile == textProfile {
		paidFor, ok := reserved(input)
		if !ok {
			return end(revert(0x618dc7f1, number(32), tail([]byte(notAText))))
		}
		tokens = paidFor
	}
	paid := executionGas(saturating(slot.gas, tokens), excess)
	if err := c.charge(paid); err != nil {
		return end(nil, err)
	}
	if reason := checkInput(input); reason != "" {
		return end(revert(0x618dc7f1, number(32), tail([]byte(reason))))
	}
	id := RequestID(model, input)
	outcome, ok := c.Lookup(id)
	if !ok {
		c.Missing, c.MissingInput = id, input
		copy(c.MissingModel[:], model)
		return end(nil, ErrMissing)
	}
	if slot.profile == textProfile {
		c.used -= paid - executionGas(saturating(slot.gas, used(input, &outcome)), excess)
	}
	c.Used = append(c.Used, id)
	return &outcome, nil, nil
}

// RequestID is keccak256(model ‖ keccak256(input)).
func RequestID(model, input []byte) (id [32]byte) {
	copy(id[:], Keccak256(model, Keccak256(input)))
	return id
}

type slot struct{ gas, maxInput, maxOutput, profile uint64 }

func (c *Call) slot(model []byte) (*slot, error) {
	var key [32]byte
	copy(key[:], Keccak256(model, make([]byte, 32)))
	packed, err := c.load(key)
	if err != nil {
		return nil, err
	}
	return Unpack(packed), nil
}

// Unpack reads a model's slot; nil for an unknown model.
func Unpack(packed [32]byte) *slot {
	profile := uint64(packed[15])
	if profile < 1 || profile > textProfile {
		return nil
	}
	return &slot{
		gas:       binary.BigEndian.Uint64(packed[24:]),
		maxInput:  uint64(binary.BigEndian.Uint32(packed[20:])),
		maxOutput: uint64(binary.BigEndian.Uint32(packed[16:])),
		profile:   profile,
	}
}

func (c *Call) load(key [32]byte) (value [32]byte, err error) {
	value, cold := c.Load(key)
	if cold {
		return value, c.charge(coldSlot)
	}
	return value, c.charge(warmSlot)
}

// executionGas is EIP-4844's fake_exponential of the excess, times the gas, rounded up.
func executionGas(gas uint64, excess [32]byte) uint64 {
	x := new(big.Int).SetBytes(excess[:])
	if limit := big.NewInt(excessMax); x.Cmp(limit) > 0 {
		x = limit
	}
	output, term := new(big.Int), big.NewInt(one*updateFraction)
	for i := int64(1); term.Sign() > 0; i++ {
		output.Add(output, term)
		term.Mul(term, x).Div(term, big.NewInt(updateFraction*i))
	}
	price := output.Div(output, big.NewInt(updateFraction))
	cost := price.Mul(price, new(big.Int).SetUint64(gas))
	cost.Add(cost, big.NewInt(one-1)).Div(cost, big.NewInt(one))
	if !cost.IsUint64() {
		return ^uint64(0)
	}
	return cost.Uint64()
}

func revert(selector uint32, args ...[]byte) ([]byte, error) {
	data := binary.BigEndian.AppendUint32(nil, selector)
	return append(data, bytes.Join(args, nil)...), ErrReverted
}

func word(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
func number(n uint64) []byte { return word(new(big.Int).SetUint64(n)) }
func padded(length int) int  { return (length + 31) / 32 * 32 }
func tail(data []byte) []byte {
	return append(append(number(uint64(len(data))), data...), make([]byte, padded(len(data))-len(data))...)
}
func small(w []byte) (int, bool) {
	n := new(big.Int).SetBytes(w)
	return int(n.Int64()), n.BitLen() < 32
}

// dynamic finds the bytes whose offset stands in the head's word at, of heads words.
func dynamic(args []byte, at, heads int) ([]byte, bool) {
	if len(args) < heads*32 {
		return nil, false
	}
	offset, ok := small(args[at*32 : at*32+32])
	if !ok || offset+32 > len(args) {
		return nil, false
	}
	length, ok := small(args[offset : offset+32])
	if !ok || offset+32+padded(length) > len(args) {
		return nil, false
	}
	return args[offset+32 : offset+32+length], true
}

package inference

import "encoding/binary"

const (
	early     = "the input ends early: encode it with abi.encode(Tensor[])"
	trailing  = "bytes follow the last tensor: encode it with abi.encode(Tensor[])"
	offset    = "an offset is not canonical: encode it with abi.encode(Tensor[])"
	padding   = "the padding after a tensor's data is not zero: encode it with abi.encode(Tensor[])"
	tensors   = "more than 64 tensors"
	rank      = "a tensor of rank above 8"
	dtype     = "a dtype above 11 (Text)"
	dimension = "a dimension above uint32"
	length    = "a tensor's data does not fit its shape"
	huge      = int64(1) << 62
)

var widths = [11]uint64{32, 32, 1, 1, 2, 2, 4, 4, 8, 8, 1}

// cursor walks the words of an input; the first defect stays.
type cursor struct {
	rest   []byte
	defect string
}

func (c *cursor) fail(defect string) {
	if c.defect == "" {
		c.defect = defect
	}
}

func (c *cursor) take(n int64) []byte {
	if c.defect != "" || n > int64(len(c.rest)) {
		c.fail(early)
		return nil
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

// word is a word that counts something; what does not fit counts more than there can be.
func (c *cursor) word() int64 {
	w := c.take(32)
	if w == nil {
		return 0
	}
	for _, b := range w[:24] {
		if b != 0 {
			return huge
		}
	}
	if n := binary.BigEndian.Uint64(w[24:]); n < uint64(huge) {
		return int64(n)
	}
	return huge
}

func (c *cursor) must(holds bool, defect string) {
	if !holds {
		c.fail(defect)
	}
}

// checkInput says what is wrong with an input; nothing if it is canonical.
func checkInput(input []byte) string {
	c := &cursor{rest: input}
	c.must(c.word() == 32, offset)
	count := c.word()
	c.must(count <= 64, tensors)
	if c.defect != "" {
		return c.defect
	}
	heads := &cursor{rest: c.take(count * 32)}
	expected := count * 32
	for i := int64(0); i < count && c.defect == ""; i++ {
		c.must(heads.word() == expected, offset)
		before := len(c.rest)
		c.tensor()
		expected += int64(before - len(c.rest))
	}
	c.must(len(c.rest) == 0, trailing)
	return c.defect
}

func (c *cursor) tensor() {
	kind := c.word()
	c.must(kind <= 11, dtype)
	c.must(c.word() == 96, offset)
	at, dimensions := c.word(), c.word()
	c.must(dimensions <= 8, rank)
	c.must(at == (4+dimensions)*32, offset)
	elements, fits := uint64(1), true
	for i := int64(0); i < dimensions && c.defect == ""; i++ {
		n := c.word()
		c.must(n <= 0xffffffff, dimension)
		fits = fits && (n == 0 || elements <= ^uint64(0)/uint64(n))
		c.must(fits, length)
		elements *= uint64(n)
	}
	size := c.word()
	if c.defect != "" {
		return
	}
	if size == huge {
		c.fail(early)
		return
	}
	block := c.take((size + 31) / 32 * 32)
	if block == nil && c.defect != "" {
		return
	}
	for _, b := range block[size:] {
		c.must(b == 0, padding)
	}
	data := block[:size]
	switch {
	case kind < 11:
		c.must(elements <= ^uint64(0)/widths[kind] && elements*widths[kind] == uint64(size), length)
	case dimensions > 0:
		c.must(textsFit(elements, data), length)
	}
}

func textsFit(elements uint64, data []byte) bool {
	for ; elements > 0; elements-- {
		if len(data) < 4 {
			return false
		}
		n := uint64(binary.BigEndian.Uint32(data))
		if n > uint64(len(data)-4) {
			return false
		}
		data = data[4+n:]
	}
	return len(data) == 0
}

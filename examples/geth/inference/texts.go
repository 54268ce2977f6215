package inference

import "encoding/binary"

const (
	textProfile   = 4
	answerMax     = 5_120
	notAText      = "a text model takes its parameters, Int of shape [7], as the first tensor"
	promptPerGas  = 4
	parameters    = 7
	facts         = 4
	answerAllowed = 0
	promptAllowed = 6
	promptTokens  = 2
	answerTokens  = 3
	maximum       = ^uint64(0)
	tensorsPlaces = 64
)

// reserved is how many tokens a request pays for in advance; not ok where its first tensor is not Int[7].
func reserved(input []byte) (uint64, bool) {
	answer, ok := element(input, parameters, answerAllowed)
	return promptReserved(input) + min(answer, answerMax), ok
}

// promptReserved is the prompt's part of it: the most tokens that the request allows, never more than the input has bytes.
func promptReserved(input []byte) uint64 {
	most, _ := element(input, parameters, promptAllowed)
	return prompt(min(most, uint64(len(input))))
}

// used is how many of them are kept once the outcome is known.
func used(input []byte, outcome *Outcome) uint64 {
	paid, _ := reserved(input)
	if outcome.Code != 0 {
		return min(promptReserved(input), paid)
	}
	read, ok := element(outcome.Output, facts, promptTokens)
	written, also := element(outcome.Output, facts, answerTokens)
	tokens := prompt(read) + written
	if !ok || !also || tokens < written {
		return paid
	}
	return min(tokens, paid)
}

func prompt(tokens uint64) uint64 {
	whole := tokens / promptPerGas
	if tokens%promptPerGas != 0 {
		whole++
	}
	return whole
}

func min(a, b uint64) uint64 {
	if a < b {
		return a
	}
	return b
}

// element reads one of the numbers of the first tensor, an Int vector of that length. What does not fit, a negative number too, is the
// largest that does.
func element(encoded []byte, length, index uint64) (uint64, bool) {
	at := func(word uint64) (uint64, bool) {
		if (word+1)*32 > uint64(len(encoded)) {
			return 0, false
		}
		for _, b := range encoded[word*32 : word*32+24] {
			if b != 0 {
				return maximum, true
			}
		}
		return binary.BigEndian.Uint64(encoded[word*32+24 : word*32+32]), true
	}
	count, ok := at(1)
	if !ok || count < 1 || count > tensorsPlaces {
		return 0, false
	}
	first := 2 + count
	// Its dtype (1), rank, only dimension and length in bytes; the offsets between them are always the same.
	for _, wanted := range [][2]uint64{{first, 1}, {first + 3, 1}, {first + 4, length}, {first + 5, length * 32}} {
		if found, ok := at(wanted[0]); !ok || found != wanted[1] {
			return 0, false
		}
	}
	return at(first + 6 + index)
}

// saturating is a product that stays at the largest number instead of passing it.
func saturating(a, b uint64) uint64 {
	if b != 0 && a > maximum/b {
		return maximum
	}
	return a * b
}

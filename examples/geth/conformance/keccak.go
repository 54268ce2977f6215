package main

import (
	"encoding/binary"
	"math/bits"
)

// keccak256 by FIPS 202's permutation with the padding from before it. A client has its own.
func keccak256(parts ...[]byte) []byte {
	const rate = 136
	var data []byte
	for _, part := range parts {
		data = append(data, part...)
	}
	data = append(data, 1)
	for len(data)%rate != 0 {
		data = append(data, 0)
	}
	data[len(data)-1] |= 0x80
	var state [25]uint64
	for ; len(data) > 0; data = data[rate:] {
		for i := 0; i < rate/8; i++ {
			state[i] ^= binary.LittleEndian.Uint64(data[8*i:])
		}
		permute(&state)
	}
	hash := make([]byte, 32)
	for i := 0; i < 4; i++ {
		binary.LittleEndian.PutUint64(hash[8*i:], state[i])
	}
	return hash
}

func permute(a *[25]uint64) {
	lfsr := byte(1)
	for round := 0; round < 24; round++ {
		var c [5]uint64
		for x := 0; x < 5; x++ {
			c[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
		}
		for x := 0; x < 5; x++ {
			d := c[(x+4)%5] ^ bits.RotateLeft64(c[(x+1)%5], 1)
			for y := 0; y < 25; y += 5 {
				a[y+x] ^= d
			}
		}
		x, y, last := 1, 0, a[1]
		for t := 0; t < 24; t++ {
			x, y = y, (2*x+3*y)%5
			last, a[5*y+x] = a[5*y+x], bits.RotateLeft64(last, (t+1)*(t+2)/2)
		}
		for y := 0; y < 25; y += 5 {
			row := [5]uint64{a[y], a[y+1], a[y+2], a[y+3], a[y+4]}
			for x := 0; x < 5; x++ {
				a[y+x] = row[x] ^ (^row[(x+1)%5] & row[(x+2)%5])
			}
		}
		for j := 0; j < 7; j++ {
			if lfsr&1 != 0 {
				a[0] ^= 1 << (1<<j - 1)
			}
			lfsr = lfsr<<1 ^ (lfsr>>7)*0x71
		}
	}
}

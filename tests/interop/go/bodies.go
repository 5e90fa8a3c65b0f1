package main

import (
	"fmt"
	"hash/crc32"
	"math/rand"
)

const mib = 1 << 20

// size is the same in every language. mixed: 1 B to 1 MiB, one in a hundred above 32 KiB;
// small: 1 B to 2 KiB.
func size(sizes string, index int) int {
	hash := uint64(uint32(uint64(index) * 2654435761))
	if sizes == "small" {
		return within(hash%11, hash)
	}
	switch {
	case index == 0:
		return 1
	case index == 1:
		return mib
	case index%100 == 50:
		return within(15+hash%5, hash)
	default:
		return within(hash%15, hash)
	}
}

func within(bits, hash uint64) int {
	return 1<<bits + int((hash>>8)%(1<<bits))
}

// body makes every second body repeat itself, so that the client's compression of larger ones is used.
func body(sizes string, index int) []byte {
	bytes := make([]byte, size(sizes, index))
	if index%2 == 0 {
		rand.New(rand.NewSource(int64(index))).Read(bytes)
	} else {
		for i := range bytes {
			bytes[i] = byte('a' + (i+index)%26)
		}
	}
	return bytes
}

func sum(bytes []byte) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(bytes))
}

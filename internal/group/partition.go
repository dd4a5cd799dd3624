package group

import (
	"math"
	"unicode/utf16"
)

// Topic is the internal topic of group metadata and committed offsets.
const Topic = "__consumer_offsets"

// PartitionFor returns the partition of Topic that keeps a group, as every
// Kafka broker computes it: the absolute value of Java's hash of the string (0
// where there is none, for the least int32), modulo the number of partitions.
func PartitionFor(groupID string, partitions int32) int32 {
	h := javaHash(groupID)
	switch {
	case h == math.MinInt32:
		h = 0
	case h < 0:
		h = -h
	}
	return h % partitions
}

// javaHash is java.lang.String.hashCode: 31-ary over UTF-16 units, modulo 2^32.
func javaHash(s string) int32 {
	var h int32
	for _, r := range s {
		if r > 0xffff {
			hi, lo := utf16.EncodeRune(r)
			h = 31*(31*h+hi) + lo
			continue
		}
		h = 31*h + r
	}
	return h
}

// javaLength is java.lang.String.length: the number of UTF-16 units.
func javaLength(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

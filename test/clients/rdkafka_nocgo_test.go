//go:build !cgo

package clients

import "testing"

// newRdkafka stands in for librdkafka where no C compiler may be used.
func newRdkafka(t *testing.T, _ []string) client {
	requireOrSkip(t, "librdkafka (needs CGO_ENABLED=1 and a C compiler)")
	return nil
}

//go:build !linux

package integration

import "testing"

func inNamespace(t *testing.T, _ func(t *testing.T)) {
	t.Skip("SKIPPED, NOT TESTED: network namespaces are Linux's")
}

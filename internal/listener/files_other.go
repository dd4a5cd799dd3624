//go:build !unix

package listener

// maxFiles is how many descriptors the process may have: not bounded here.
func maxFiles() int { return 0 }

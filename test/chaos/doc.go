// Package chaos breaks clusters of the built binary in ways that need a real
// machine: power loss on a file system of its own, kill -9 of everything.
//
//	make power     (root)
package chaos

// Package integration tests the built binary as its users meet it: the command
// lines of the documentation, real ports, kill -9.
package integration

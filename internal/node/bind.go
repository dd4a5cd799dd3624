package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// addressNotAvailable are what systems say of an address that no interface of the machine has; the second is Windows'.
var addressNotAvailable = []error{syscall.EADDRNOTAVAIL, syscall.Errno(10049)}

// bindError says of a port that cannot be bound what, why and what to do. hostFlag and portFlag name what gives the two
// parts of the address.
func bindError(what, addr, hostFlag, portFlag string, err error) error {
	advice := "stop what uses it, or give another " + portFlag
	var unknown *net.DNSError
	switch {
	case errors.Is(err, addressNotAvailable[0]), errors.Is(err, addressNotAvailable[1]):
		advice = "no interface of this machine has that address; give " + hostFlag + " one that has, or leave it out"
	case errors.As(err, &unknown):
		advice = "give " + hostFlag + " an address of this machine, or leave it out"
	case errors.Is(err, fs.ErrPermission):
		advice = "this user may not; give " + portFlag + " a port above 1023"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // which lacks the address
	}
	return fmt.Errorf("the %s port cannot be bound at %s: %w; %s", what, addr, err, advice)
}

// Package invariant holds assertions and test-only deviations that cost nothing
// in a product build.
//
//   - Check is an assertion: with the build tag "invariant" (on in every test
//     build of the Makefile) it panics, else the compiler drops it.
//   - Mutant names a deliberate bug that "make mutants" switches on, one at a
//     time, to see that the tests notice; constant false without the tag "mutant".
//
// Guard costly arguments with Enabled:
//
//	if invariant.Enabled {
//		invariant.Check(img.valid(), "I-18", "leader %d not in ISR", p.Leader)
//	}
package invariant

import "fmt"

// Check panics with id and the message if ok is false and Enabled is true.
func Check(ok bool, id, format string, args ...any) {
	if Enabled && !ok {
		panic(fmt.Sprintf("invariant "+id+" violated: "+format, args...))
	}
}

//go:build !mutant

package invariant

// Mutant is always false in this build.
func Mutant(string) bool { return false }

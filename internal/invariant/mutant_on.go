//go:build mutant

package invariant

import "os"

var mutant = os.Getenv("CHRONIK_MUTANT")

// Mutant reports whether the mutation of this name is switched on, by the
// environment variable CHRONIK_MUTANT.
func Mutant(name string) bool { return name == mutant }

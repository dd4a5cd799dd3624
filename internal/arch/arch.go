// Package arch is one test that parses the sources of the project and holds the
// rules of the house: which package may import which, where the outside
// libraries may be used, and how long files and functions may grow.
package arch

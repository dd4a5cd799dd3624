//go:build synctests

package sim

// members is how many consumers of a group a schedule has.
const members = 3

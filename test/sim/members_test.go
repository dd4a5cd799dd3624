//go:build !synctests

package sim

// members is how many consumers of a group a schedule has: none, since kgo holds mutexes
// across waits there, which stops a bubble's clock. With the build tag synctests its
// mutexes are channels.
const members = 0

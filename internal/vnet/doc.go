// Package vnet is a network of hosts inside one process, for tests in
// testing/synctest bubbles: connections with latency, back-pressure and
// deadlines in fake time, and links that can be cut, refused, reset and healed,
// each direction by itself.
//
// A connection behaves as TCP does to a program: bytes in order, 64 KiB on their
// way, half-open when the network swallows its packets, reset when the other
// host is gone. There is no loss inside a link that is up, and what a cut link
// swallows arrives when it is healed, as TCP's repetitions would bring it.
//
// All waits are on sync.Cond, which is durably blocking in a bubble; the one
// mutex of a Network is never held across a wait. It starts no goroutine of its
// own; timers deliver what is on its way.
package vnet

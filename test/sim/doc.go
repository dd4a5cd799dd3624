// Package sim runs whole clusters in a testing/synctest bubble through seeded
// schedules of faults: cuts of links in each direction, kill -9, loss of power,
// restarts, stalls of Raft's disk. Invariants are checked while it runs, and what
// was acknowledged is read back at the end.
//
// A schedule follows from its seed; the interleaving of goroutines does not, so a
// red seed is run again several times:
//
//	TEST_SEED=17 go test -tags invariant -run TestSchedules -count=20 ./test/sim
//
// TEST_SEEDS sets how many seeds are run, from 1 on: 20 by default, 3 with -short.
package sim

// Package sim runs whole clusters in a testing/synctest bubble through seeded
// schedules of faults: links that are cut in one direction, slow or reset; kill -9, loss of
// power, clean stops, of one node or of all in one moment; flushes and writes of the data
// directory that are late or fail; a Raft store that stalls or fails. Meanwhile clients
// produce, follow, read as a group and commit, and create topics. What one node shows is
// compared with what others show and have shown, at every step; at the end all is healed,
// every broker must be back in service, the group must reach the end, and what was acknowledged or
// read once must be there.
//
// A schedule follows from its seed; the interleaving of goroutines does not, so a
// red seed is run again several times:
//
//	TEST_SEED=17 go test -tags invariant,synctests -run TestSchedules -count=20 ./test/sim
//
// TEST_SEEDS sets how many seeds are run, from 1 on: 20 by default, 3 with -short. Without
// the tag synctests no client reads as a member of a group: kgo holds mutexes across waits
// there, and a bubble's clock stands still as long as a goroutine waits for a mutex.
package sim

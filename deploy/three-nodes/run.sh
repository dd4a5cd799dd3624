#!/bin/sh
# Runs a cluster of three nodes on this machine: deploy/three-nodes/run.sh
# Data and logs go below ./chronik-data; Ctrl-C stops the nodes in order.
set -eu

server=${SERVER:-chronik-server}
command -v "$server" >/dev/null || {
	echo "$server is not in PATH: build it with make build, and set SERVER=bin/chronik-server" >&2
	exit 1
}
mkdir -p chronik-data

pids=
stop() {
	trap '' INT TERM
	for pid in $pids; do kill -TERM "$pid" 2>/dev/null || :; done
	for pid in $pids; do wait "$pid" 2>/dev/null || :; done
}
trap 'stop; exit 0' INT TERM

start() { # node, Kafka port, Raft port, peers
	"$server" --node-id "$1" --kafka-port "$2" --advertised-addr localhost \
		raft-cluster --raft-addr "0.0.0.0:$3" --peers "$4" >>"chronik-data/node-$1.log" 2>&1 &
	pids="$pids $!"
	echo "node $1: localhost:$2, log chronik-data/node-$1.log"
}
start 1 9092 5001 "2@localhost:5002,3@localhost:5003"
start 2 9093 5002 "1@localhost:5001,3@localhost:5003"
start 3 9094 5003 "1@localhost:5001,2@localhost:5002"
echo "bootstrap servers: localhost:9092,localhost:9093,localhost:9094; Ctrl-C stops"

for pid in $pids; do
	wait "$pid" || {
		echo "a node ended by itself: see its log" >&2
		stop
		exit 1
	}
done

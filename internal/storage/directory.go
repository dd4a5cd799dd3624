// Package storage keeps the logs of partitions on disk.
package storage

import "context"

// Directory is one data directory: its logs, their committer, and the background work.
type Directory struct{}

// OpenDirectory reads the checkpoints of a data directory. It starts nothing and opens no log.
func OpenDirectory(o DirectoryOptions) (*Directory, error) { return &Directory{}, nil }

// Recover opens every log that the directory holds, several at once. It is called once, before Run.
func (d *Directory) Recover(ctx context.Context) error { return nil }

// Run does the rounds of flushes, checkpoints, retention and the deletion of files until ctx ends.
func (d *Directory) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close flushes all logs and writes all that lets the next start open them without reading data. Run must have returned.
func (d *Directory) Close(ctx context.Context) error { return nil }

// Logs returns all logs, in order of their names.
func (d *Directory) Logs() []*Log { return nil }

// Log returns the log of a partition, nil if there is none.
func (d *Directory) Log(topic string, partition int32) *Log { return nil }

// Create makes an empty log. It is durable after SyncCreated, or once something in it is flushed.
func (d *Directory) Create(id LogID, o LogOptions) (*Log, error) { return nil, ErrClosed }

// SyncCreated makes all logs that were created so far durable, together.
func (d *Directory) SyncCreated() error { return nil }

// Delete takes the log out of the directory at once and unlinks its files in the background.
func (d *Directory) Delete(l *Log) error { return nil }

// Stray takes a log that nobody knows out of the directory and keeps its files for StrayDelay.
func (d *Directory) Stray(l *Log) error { return nil }

// Flush makes everything durable that was appended before the call, to all logs.
func (d *Directory) Flush(ctx context.Context) error { return nil }

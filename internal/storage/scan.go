package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/chronik-stream/chronik/internal/record"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	// walkWindow is what a walk over headers reads at once: an index interval of small batches, or the header of one large one.
	walkWindow = 4 << 10
	// scanWindow is what a scan that checks the data reads at once.
	scanWindow = 256 << 10
)

var (
	walkers  = sync.Pool{New: func() any { return &scanner{buffer: make([]byte, walkWindow)} }}
	checkers = sync.Pool{New: func() any { return &scanner{buffer: make([]byte, scanWindow), check: true} }}
)

// batchAt is a batch met in a file: where it stands, and its header.
type batchAt struct {
	pos    int64
	size   int64
	header record.Batch // HeaderSize bytes, good until the next step
}

func (b *batchAt) end() int64  { return b.pos + b.size }
func (b *batchAt) next() int64 { return b.header.LastOffset() + 1 }

var (
	// errTorn: the file ends inside a batch.
	errTorn = errors.New("the file ends inside a batch")
	// errMissing: the file ends before an offset that should be in it.
	errMissing = errors.New("the file ends before offset")
)

// scanner goes over the batches of a file, from pos to end. Reading headers alone it fetches a
// window at a time and skips what lies between; with check it reads all and compares checksums.
// Memory does not grow with what a header claims.
type scanner struct {
	file  io.ReaderAt
	pos   int64 // of the next batch
	end   int64
	check bool

	buffer []byte
	window []byte // the part of it that is read into
	held   []byte // the part of that which holds bytes of the file, from heldAt
	heldAt int64
	large  [record.HeaderSize]byte // header of a batch larger than the window
}

// newScanner returns a scanner; close gives it back.
func newScanner(file io.ReaderAt, pos, end int64, check bool) *scanner {
	pool := &walkers
	if check {
		pool = &checkers
	}
	s := pool.Get().(*scanner)
	s.file, s.pos, s.end, s.window, s.held = file, pos, end, s.buffer, nil
	return s
}

func (s *scanner) close() {
	s.file, s.held = nil, nil
	if s.check {
		checkers.Put(s)
	} else {
		walkers.Put(s)
	}
}

// narrow has a walk read headers alone, where an index entry is followed by the next one only gap bytes behind: the batches there
// are larger than a window.
func (s *scanner) narrow(gap int64) {
	if gap > 2*walkWindow {
		s.window = s.window[:record.HeaderSize]
	}
}

// bytes returns n bytes at pos, n being at most the window.
func (s *scanner) bytes(pos int64, n int) ([]byte, error) {
	if i := pos - s.heldAt; i >= 0 && i+int64(n) <= int64(len(s.held)) {
		return s.held[i : i+int64(n)], nil
	}
	s.held = nil
	want := min(int64(len(s.window)), s.end-pos)
	got, err := s.file.ReadAt(s.window[:want], pos)
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = errTorn
		}
		return nil, err
	}
	s.held, s.heldAt = s.window[:got], pos
	return s.held[:n], nil
}

// next returns the next batch: io.EOF at the end, errTorn if the file ends inside it, an error
// that wraps one of record's for bytes that are no batch, any other if reading failed. After an
// error pos is where the batch should be.
func (s *scanner) next() (batchAt, error) {
	if s.pos >= s.end {
		return batchAt{}, io.EOF
	}
	if s.end-s.pos < record.HeaderSize {
		return batchAt{}, errTorn
	}
	h, err := s.bytes(s.pos, record.HeaderSize)
	if err != nil {
		return batchAt{}, err
	}
	size, err := record.Size(h)
	if err != nil {
		return batchAt{}, err
	}
	b := batchAt{pos: s.pos, size: int64(size), header: record.Batch(h)}
	if b.end() > s.end {
		return batchAt{}, errTorn
	}
	if err := checkClaims(b.header); err != nil {
		return batchAt{}, err
	}
	if s.check {
		if err := s.checkCRC(&b); err != nil {
			return batchAt{}, err
		}
	}
	s.pos = b.end()
	return b, nil
}

// checkClaims tells whether a header's counts can be those of a batch.
func checkClaims(h record.Batch) error {
	if n, last := h.Count(), h.LastOffsetDelta(); h.BaseOffset() < 0 || n < 0 || last < 0 || last < n-1 {
		return fmt.Errorf("%w: base offset %d, %d records, last offset delta %d", record.ErrCorrupt, h.BaseOffset(), n, last)
	}
	return nil
}

// Offsets in a batch: the format version, and where the bytes begin that the checksum covers.
const (
	magicAt = 16
	crcFrom = 21
)

// checkCRC compares the checksum of a batch, which may be larger than the window; then its header
// is kept beside it.
func (s *scanner) checkCRC(b *batchAt) error {
	if b.size <= int64(len(s.window)) {
		p, err := s.bytes(b.pos, int(b.size))
		if err != nil {
			return err
		}
		b.header = record.Batch(p)
		return matchCRC(b.header, crc32.Checksum(p[crcFrom:], castagnoli))
	}
	b.header = record.Batch(s.large[:copy(s.large[:], b.header)])
	var sum uint32
	for pos := b.pos + crcFrom; pos < b.end(); {
		p, err := s.bytes(pos, int(min(b.end()-pos, int64(len(s.window)))))
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, p)
		pos += int64(len(p))
	}
	return matchCRC(b.header, sum)
}

func matchCRC(h record.Batch, sum uint32) error {
	if sum != h.CRC() {
		return fmt.Errorf("%w: CRC-32C is %08x, the header says %08x", record.ErrCorrupt, sum, h.CRC())
	}
	return nil
}

// whole returns the bytes of a batch that the scanner has just returned.
func (s *scanner) whole(b *batchAt) (record.Batch, error) {
	if b.size <= int64(len(s.window)) {
		p, err := s.bytes(b.pos, int(b.size))
		return record.Batch(p), err
	}
	p := make([]byte, b.size)
	if _, err := s.file.ReadAt(p, b.pos); err != nil {
		return nil, err
	}
	return record.Batch(p), nil
}

// resync looks behind a damaged place for the next intact batch with an offset above after, and
// returns where it stands and its base offset. That there is one tells damage from a torn write.
func resync(file io.ReaderAt, pos, end, after int64) (at, base int64, ok bool) {
	const step = 64 << 10
	p := make([]byte, step+record.HeaderSize)
	for ; pos < end; pos += step {
		n, _ := file.ReadAt(p[:min(int64(len(p)), end-pos)], pos)
		for i := 0; i < min(step, n-record.HeaderSize+1); i++ {
			if p[i+magicAt] != record.Magic {
				continue
			}
			if d := int64(binary.BigEndian.Uint64(p[i:])) - after; d <= 0 || d > math.MaxInt32 {
				continue // not an offset that this segment can hold
			}
			s := newScanner(file, pos+int64(i), end, true)
			b, err := s.next()
			if err == nil {
				at, base = b.pos, b.header.BaseOffset()
			}
			s.close()
			if err == nil {
				return at, base, true
			}
		}
	}
	return 0, 0, false
}

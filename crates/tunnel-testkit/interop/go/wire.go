package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// wire is the connection as hashicorp/yamux sees it: what that library has no
// call for happens here, frame by frame.
//
//   - It cannot reset a stream, and a transfer that was cut must not look like
//     one that ended (§6).
//   - Before v0.1.2 (as Debian's is) a stream that was closed reads as ended,
//     so Close is no half-close.
//   - It doesn't notice silence until its next keepalive, 30 s (§7).
type wire struct {
	net.Conn
	in      *bufio.Reader
	silence time.Duration

	// Of the frame being read: what yamux has yet to see of its header, and
	// the bytes of its body yet to come.
	head []byte
	body int64

	mu     sync.Mutex
	out    []byte          // a frame whose body yamux has yet to write
	over   map[uint32]bool // streams whose FIN or RST is sent, and yamux doesn't know
	forged []uint32        // streams that yamux is to forget
}

const (
	headerLen = 12

	typeData, typeWindowUpdate = 0, 1
	flagFIN, flagRST           = 4, 8
)

func newWire(conn net.Conn, silence time.Duration) *wire {
	return &wire{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10), silence: silence, over: map[uint32]bool{}}
}

// finish ends our side of a stream and leaves the other side to be read.
func (w *wire) finish(stream *yamux.Stream) error { return w.end(stream, flagFIN) }

// reset gives a stream up, both ways.
func (w *wire) reset(stream *yamux.Stream) {
	w.end(stream, flagRST)
	stream.Close() // wakes who reads from it
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forged = append(w.forged, stream.StreamID())
}

// release closes a stream that both sides are done with.
func (w *wire) release(stream *yamux.Stream) {
	stream.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.over, stream.StreamID())
}

func (w *wire) end(stream *yamux.Stream, flag uint16) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over[stream.StreamID()] = true
	_, err := w.Conn.Write(frame(flag, stream.StreamID()))
	return err
}

func frame(flag uint16, stream uint32) []byte {
	header := []byte{0, typeWindowUpdate}
	header = binary.BigEndian.AppendUint16(header, flag)
	header = binary.BigEndian.AppendUint32(header, stream)
	return binary.BigEndian.AppendUint32(header, 0)
}

// Write sends whole frames, so that one of ours may come between any two: yamux
// writes a header and its body in one call each.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, p...)
	flags, stream := binary.BigEndian.Uint16(w.out[2:]), binary.BigEndian.Uint32(w.out[4:])
	if len(w.out) < headerLen+bodyLen(w.out) {
		return len(p), nil
	}
	if flags&flagFIN == 0 || !w.over[stream] {
		if _, err := w.Conn.Write(w.out); err != nil {
			return 0, err
		}
	}
	w.out = w.out[:0]
	return len(p), nil
}

// Read fails after the server's silence, and slips in the resets that make
// yamux forget the streams that we have reset.
func (w *wire) Read(p []byte) (int, error) {
	w.SetReadDeadline(time.Now().Add(w.silence))
	if len(w.head) == 0 && w.body == 0 {
		if err := w.readHeader(); err != nil {
			return 0, err
		}
	}
	if len(w.head) > 0 {
		n := copy(p, w.head)
		w.head = w.head[n:]
		return n, nil
	}
	n, err := w.in.Read(p[:min(int64(len(p)), w.body)])
	w.body -= int64(n)
	return n, err
}

func (w *wire) readHeader() error {
	w.mu.Lock()
	for _, stream := range w.forged {
		w.head = append(w.head, frame(flagRST, stream)...)
	}
	w.forged = nil
	w.mu.Unlock()
	if len(w.head) > 0 {
		return nil
	}
	header := make([]byte, headerLen)
	if _, err := io.ReadFull(w.in, header); err != nil {
		return err
	}
	w.head, w.body = header, int64(bodyLen(header))
	return nil
}

func bodyLen(header []byte) int {
	if header[1] != typeData {
		return 0
	}
	return int(binary.BigEndian.Uint32(header[8:]))
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

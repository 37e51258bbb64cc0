package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

// Words on a visitor's stream, and the codes of a refusal (§8 and §9).
const (
	accepted, ready, refused = 1, 2, 3

	noSuchTunnel, upstreamRefused, upstreamUnreachable, upstreamTimeout = 300, 301, 302, 303
)

// acceptVisitors never waits on a visitor: streams that nobody accepts are
// reset once AcceptBacklog of them wait.
func acceptVisitors(session *yamux.Session, w *wire, visitors *sync.WaitGroup) {
	for !session.IsClosed() {
		stream, err := session.AcceptStream()
		if err != nil {
			continue
		}
		visitors.Add(1)
		go func() {
			defer visitors.Done()
			defer w.release(stream)
			serve(w, stream)
		}()
	}
}

// serve takes one visitor to the upstream (§8).
func serve(w *wire, stream *yamux.Stream) {
	stream.SetReadDeadline(time.Now().Add(10 * time.Second))
	tunnel, err := readStreamHeader(stream)
	if err != nil {
		w.reset(stream)
		return
	}
	stream.SetReadDeadline(time.Time{})
	stream.Write([]byte{accepted})
	if tunnel != theTunnel {
		stream.Write(refuse(noSuchTunnel))
		return
	}
	conn, err := net.DialTimeout("tcp", *upstream, 10*time.Second)
	if err != nil {
		stream.Write(refuse(codeOf(err)))
		return
	}
	stream.Write([]byte{ready})
	relay(w, stream, conn.(*net.TCPConn))
}

func readStreamHeader(r io.Reader) (tunnel uint64, err error) {
	var length uint16
	if err := binary.Read(r, binary.BigEndian, &length); err != nil {
		return 0, err
	}
	if length < 28 || length > 512 {
		return 0, fmt.Errorf("a stream header of %d bytes", length)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, err
	}
	if kind := header[0]; kind != 1 && kind != 2 {
		return 0, fmt.Errorf("a stream of kind %d", kind)
	}
	return binary.BigEndian.Uint64(header[2:]), nil
}

func refuse(code uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{refused}, code)
}

func codeOf(err error) uint16 {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return upstreamRefused
	case errors.As(err, &timeout) && timeout.Timeout():
		return upstreamTimeout
	}
	return upstreamUnreachable
}

// relay carries bytes, ends and cuts both ways. Whatever didn't end by itself
// is reset, at the visitor's side and the upstream's.
func relay(w *wire, stream *yamux.Stream, conn *net.TCPConn) {
	defer conn.Close()
	uploaded := make(chan bool, 1)
	go func() {
		// As a plain writer: else the connection's name is put on errors of the stream as well.
		_, err := io.Copy(struct{ io.Writer }{conn}, stream)
		// A lost session reads as an end.
		if err == nil && !stream.Session().IsClosed() {
			conn.CloseWrite()
			uploaded <- true
			return
		}
		// An upstream that takes no more may still have an answer under way.
		if broken := (*net.OpError)(nil); !errors.As(err, &broken) {
			conn.SetLinger(0)
			conn.Close()
		}
		uploaded <- false
	}()
	_, err := io.Copy(stream, conn)
	if err == nil {
		err = w.finish(stream)
	}
	if err != nil {
		conn.SetLinger(0)
		conn.Close()
		w.reset(stream)
	}
	if !<-uploaded {
		w.reset(stream)
	}
}

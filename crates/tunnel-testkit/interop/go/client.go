// Command client is a tunnel client in Go, written from docs/PROTOCOL.md alone.
//
// It exists to keep that document honest: what this program needs and the
// document doesn't say is a hole in the document. `cargo xtask e2e` builds it
// and lets visitors through it, so a change of the wire that only the Rust
// client follows is found as well.
//
//	client.go   the session: control stream, heartbeat, leaving
//	login.go    TLS with the pin, or plaintext with the proof
//	message.go  JSON frames, tokens
//	visitor.go  a visitor's stream and the upstream
//	wire.go     what hashicorp/yamux has no call for
//
// It publishes one upstream over one lane and prints the public URL. Left out,
// since they show nothing new about the wire: logging in again after a lost
// connection, further lanes, certificates of an issuer, a state directory.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

var (
	server    = flag.String("server", "", "host:port of the server's control port")
	kind      = flag.String("kind", "http", "what to publish: http or tcp")
	upstream  = flag.String("upstream", "", "host:port that visitors are taken to")
	subdomain = flag.String("subdomain", "", "the name to ask for (http)")
	port      = flag.Int("port", 0, "the port to ask for (tcp)")
	instance  = flag.String("instance", "", "32 hex digits that name this installation; random if not given")
	plaintext = flag.Bool("plaintext", false, "no TLS; prove the token instead of sending it")
)

// theTunnel is this client's number for the one tunnel that it publishes.
const theTunnel = 1

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal("client: ", err) // exits with 1
	}
}

func run() error {
	token, err := parseToken(os.Getenv("TUNNEL_TOKEN"))
	if err != nil {
		return err
	}
	conn, greeting, err := login(token)
	if err != nil {
		return err
	}
	w := newWire(conn, millis(greeting.DeadAfterMs))
	config := yamux.DefaultConfig()
	config.AcceptBacklog = 2 * greeting.StreamsPerLane
	config.LogOutput = io.Discard // it warns of every frame that crossed a reset
	session, err := yamux.Client(w, config)
	if err != nil {
		return err
	}
	defer session.Close()
	stream, err := session.Open()
	if err != nil {
		return err
	}

	var visitors sync.WaitGroup
	go acceptVisitors(session, w, &visitors)
	return control(stream, millis(greeting.HeartbeatMs), &visitors)
}

// control publishes the tunnel and keeps the session alive. After SIGINT or
// SIGTERM it returns, without an error, when the last visitor is done.
func control(stream net.Conn, heartbeat time.Duration, visitors *sync.WaitGroup) error {
	messages, failed := make(chan *message), make(chan error, 1)
	go func() {
		for {
			m, err := readFrame(stream, 65536)
			if err != nil {
				failed <- err
				return
			}
			messages <- m
		}
	}()
	spec := map[string]any{"kind": *kind}
	if *subdomain != "" {
		spec["subdomain"] = *subdomain
	}
	if *port != 0 {
		spec["port"] = *port
	}
	if err := writeFrame(stream, &message{Type: "bind", Tunnel: theTunnel, Spec: spec}); err != nil {
		return err
	}
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, os.Interrupt, syscall.SIGTERM)
	left, leaving := make(chan struct{}), false
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for seq := uint64(1); ; {
		say := (*message)(nil)
		select {
		case err := <-failed:
			if leaving { // a server that stops doesn't wait for us
				return nil
			}
			return fmt.Errorf("the session ended: %w", err)
		case <-left:
			return nil
		case <-leave:
			say = &message{Type: "drain"}
		case <-beat.C:
			say = &message{Type: "ping", Seq: seq}
			seq++
		case m := <-messages:
			switch m.Type {
			case "bound":
				fmt.Println(m.Address.URL)
			case "refused", "unbound":
				return fmt.Errorf("%s: %s: %s", m.Type, m.Refusal.Code, m.Refusal.Message)
			case "go-away":
				log.Printf("go-away: %s: %s", m.Refusal.Code, m.Refusal.Message)
				say = &message{Type: "drain"}
			case "ping":
				say = &message{Type: "pong", Seq: m.Seq}
			case "drained":
				leaving = true
				go func() {
					visitors.Wait()
					close(left)
				}()
			case "notice":
				log.Print(m.Message)
			}
		}
		if say != nil {
			if err := writeFrame(stream, say); err != nil {
				return err
			}
		}
	}
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// login returns a connection whose next byte is yamux's, and the welcome.
func login(t *token) (net.Conn, *message, error) {
	conn, err := net.DialTimeout("tcp", *server, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))

	who := make([]byte, 16)
	if *instance == "" {
		rand.Read(who)
	} else if n, err := hex.Decode(who, []byte(*instance)); err != nil || n != 16 {
		return nil, nil, errors.New("-instance takes 32 hex digits")
	}
	credential := map[string]string{"id": hex.EncodeToString(t.id)}
	if *plaintext {
		nonce, err := greetPlaintext(conn)
		if err != nil {
			return nil, nil, err
		}
		key := sha256.Sum256(t.secret)
		mac := hmac.New(sha256.New, key[:])
		mac.Write([]byte("tunnel plaintext login 1"))
		mac.Write(nonce)
		mac.Write(who)
		credential["kind"], credential["mac"] = "proof", b64.EncodeToString(mac.Sum(nil))
	} else {
		secured := tls.Client(conn, pinned(t.pin))
		if err := secured.Handshake(); err != nil {
			return nil, nil, err
		}
		if secured.ConnectionState().NegotiatedProtocol != "tunnel/1" {
			return nil, nil, errors.New("not a tunnel server")
		}
		conn = secured
		credential["kind"], credential["secret"] = "token", b64.EncodeToString(t.secret)
	}
	hello := map[string]any{
		"versions":   map[string]int{"min": 1, "max": 1},
		"credential": credential,
		"instance":   hex.EncodeToString(who),
		"agent":      "interop-go/1",
		"machine":    "interop",
	}
	if err := writeFrame(conn, hello); err != nil {
		return nil, nil, err
	}
	answer, err := readFrame(conn, 4096)
	if err != nil {
		return nil, nil, err
	}
	if answer.Type != "welcome" {
		return nil, nil, fmt.Errorf("refused: %s: %s", answer.Code, answer.Message)
	}
	return conn, answer, conn.SetDeadline(time.Time{})
}

func greetPlaintext(conn net.Conn) ([]byte, error) {
	const greeting = "tunnel/1\n"
	if _, err := io.WriteString(conn, greeting); err != nil {
		return nil, err
	}
	echo := make([]byte, len(greeting))
	if _, err := io.ReadFull(conn, echo); err != nil || string(echo) != greeting {
		return nil, errors.New("not a tunnel server without TLS")
	}
	challenge, err := readFrame(conn, 4096)
	if err != nil {
		return nil, err
	}
	return b64.DecodeString(challenge.Nonce)
}

// pinned trusts the one key whose hash the token carries. crypto/tls still
// verifies the handshake's signature: InsecureSkipVerify is about the chain.
func pinned(pin []byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"tunnel/1"},
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			cert, err := x509.ParseCertificate(chain[0])
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo); string(sum[:]) != string(pin) {
				return errors.New("the server's key is not the one that the token names")
			}
			return nil
		},
	}
}

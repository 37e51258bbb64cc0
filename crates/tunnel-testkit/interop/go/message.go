package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// message is any JSON frame, of the login or of the control stream: each
// carries a few of these fields.
type message struct {
	Type    string   `json:"type,omitempty"`
	Nonce   string   `json:"nonce,omitempty"`
	Seq     uint64   `json:"seq"`
	Tunnel  uint64   `json:"tunnel"`
	Spec    any      `json:"spec,omitempty"`
	Address *address `json:"address,omitempty"`
	Refusal *refusal `json:"refusal,omitempty"`
	Message string   `json:"message,omitempty"`
	Code    string   `json:"code,omitempty"`

	HeartbeatMs    int `json:"heartbeat_ms,omitempty"`
	DeadAfterMs    int `json:"dead_after_ms,omitempty"`
	StreamsPerLane int `json:"streams_per_lane,omitempty"`
}

type address struct {
	URL string `json:"url"`
}

type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func writeFrame(w io.Writer, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

func readFrame(r io.Reader, max uint32) (*message, error) {
	var length uint32
	if err := binary.Read(r, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	if length > max {
		return nil, fmt.Errorf("a frame of %d bytes", length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	m := new(message)
	return m, json.Unmarshal(text, m)
}

var b64 = base64.RawURLEncoding

// token is what §4 packs into one word.
type token struct{ id, secret, pin []byte }

func parseToken(text string) (*token, error) {
	if len(text) < 4 || text[:4] != "tnl_" {
		return nil, errors.New("TUNNEL_TOKEN is not a token")
	}
	raw, err := b64.Strict().DecodeString(text[4:])
	if err != nil || (len(raw) != 37 && len(raw) != 69) || raw[0] != 1 {
		return nil, errors.New("TUNNEL_TOKEN is not a token of layout 1")
	}
	end := len(raw) - 4
	if sum := sha256.Sum256(raw[:end]); string(sum[:4]) != string(raw[end:]) {
		return nil, errors.New("TUNNEL_TOKEN has a typing error")
	}
	return &token{id: raw[1:9], secret: raw[9:33], pin: raw[33:end]}, nil
}

// net/http over crypto/tls, one transport per worker; with `sessions: 1` in the plan all share one: many streams on a
// connection. The plan and the answer lines are those of clients/common.py.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

type request struct {
	ID     string `json:"id"`
	Script string `json:"script"`
	Model  string `json:"model"`
}

type plan struct {
	Base        string    `json:"base"`
	API         string    `json:"api"`
	Model       string    `json:"model"`
	Stream      bool      `json:"stream"`
	Requests    []request `json:"requests"`
	Concurrency int       `json:"concurrency"`
	Wait        bool      `json:"wait"`
	PromptBytes int       `json:"prompt_bytes"`
	MaxTokens   int       `json:"max_tokens"`
	TimeoutS    int       `json:"timeout_s"`
	Sessions    int       `json:"sessions"`
}

var paths = map[string]string{"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}

var out sync.Mutex

func emit(value any) {
	line, _ := json.Marshal(value)
	out.Lock()
	os.Stdout.Write(append(line, '\n'))
	out.Unlock()
}

func load() plan {
	p := plan{Concurrency: 1, PromptBytes: 64, MaxTokens: 64, TimeoutS: 60}
	text := []byte(os.Args[1])
	if text[0] == '@' {
		var err error
		if text, err = os.ReadFile(string(text[1:])); err != nil {
			panic(err)
		}
	}
	if err := json.Unmarshal(text, &p); err != nil {
		panic(err)
	}
	return p
}

func body(p plan, r request) []byte {
	text := "marker-" + r.ID + " "
	if n := (p.PromptBytes-len(text))/12 + 1; n > 0 {
		text += strings.Repeat("lorem ipsum ", n)
	}
	model := p.Model
	if r.Model != "" {
		model = r.Model
	}
	b := map[string]any{"model": model, "stream": p.Stream}
	if p.API == "responses" {
		b["input"], b["max_output_tokens"] = text, p.MaxTokens
	} else {
		b["messages"], b["max_tokens"] = []any{map[string]any{"role": "user", "content": text}}, p.MaxTokens
	}
	if p.API == "chat" && p.Stream {
		b["stream_options"] = map[string]any{"include_usage": true}
	}
	data, _ := json.Marshal(b)
	return data
}

type answer struct {
	ID     string         `json:"id"`
	SHA256 string         `json:"sha256"`
	Status int            `json:"status"`
	Model  any            `json:"model"`
	Usage  map[string]int `json:"usage"`
	Text   int            `json:"text_bytes"`
	Error  any            `json:"error"`
	Port   int            `json:"port"`
	PID    int            `json:"pid"`
	Ms     float64        `json:"elapsed_ms"`
	counts map[string]int
}

func (a *answer) take(value map[string]any) {
	if e, ok := value["error"].(map[string]any); ok {
		a.Error = "error"
		if t, ok := e["type"].(string); ok {
			a.Error = t
		}
	}
	for _, holder := range []any{value, value["response"], value["message"]} {
		h, _ := holder.(map[string]any)
		if m, ok := h["model"].(string); ok {
			a.Model = m
		}
		usage, _ := h["usage"].(map[string]any)
		for k, v := range usage {
			if n, ok := v.(float64); ok {
				a.counts[k] = int(n)
			}
		}
	}
	// Text: only its length matters, and only for streams of chat completions.
	choices, _ := value["choices"].([]any)
	for _, c := range choices {
		delta, _ := c.(map[string]any)["delta"].(map[string]any)
		if text, ok := delta["content"].(string); ok {
			a.Text += len(text)
		}
	}
}

func (a *answer) settle() {
	n := a.counts
	if _, ok := n["prompt_tokens"]; ok {
		a.Usage = map[string]int{"in": n["prompt_tokens"], "out": n["completion_tokens"]}
	} else if _, ok := n["input_tokens"]; ok {
		in := n["input_tokens"] + n["cache_read_input_tokens"] + n["cache_creation_input_tokens"]
		a.Usage = map[string]int{"in": in, "out": n["output_tokens"]}
	}
}

func send(p plan, client *http.Client, r request, a *answer) error {
	data := body(p, r)
	sum := sha256.Sum256(data)
	a.SHA256 = hex.EncodeToString(sum[:])
	req, err := http.NewRequest("POST", p.Base+paths[p.API], bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("content-type", "application/json")
	req.Header.Set("x-fake", "id="+r.ID+";"+r.Script)
	if p.API == "messages" {
		req.Header.Set("x-api-key", "sk-test")
		req.Header.Set("anthropic-version", "2023-06-01")
	} else {
		req.Header.Set("authorization", "Bearer sk-test")
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		a.Port = info.Conn.LocalAddr().(*net.TCPAddr).Port
	}}))
	response, err := client.Do(req)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	a.Status = response.StatusCode
	if !p.Stream || response.StatusCode != 200 {
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		var value map[string]any
		if err := json.Unmarshal(text, &value); err != nil {
			return err
		}
		a.take(value)
		return nil
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		text := strings.TrimPrefix(lines.Text(), "data: ")
		if text == lines.Text() || text == "[DONE]" {
			continue
		}
		var value map[string]any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return err
		}
		a.take(value)
	}
	return lines.Err()
}

func main() {
	p := load()
	base, err := url.Parse(p.Base)
	if err != nil {
		panic(err)
	}
	emit(map[string]any{"ready": true, "pid": os.Getpid()})
	if p.Concurrency > len(p.Requests) {
		p.Concurrency = len(p.Requests)
	}
	stdin := bufio.NewReader(os.Stdin)
	var turn sync.Mutex
	var workers sync.WaitGroup
	if p.Sessions == 0 {
		p.Sessions = p.Concurrency
	}
	clients := make([]*http.Client, p.Sessions)
	for i := range clients {
		transport := &http.Transport{ForceAttemptHTTP2: strings.HasPrefix(base.Host, "h2."), MaxConnsPerHost: 1,
			TLSClientConfig: &tls.Config{}}
		clients[i] = &http.Client{Transport: transport, Timeout: time.Duration(p.TimeoutS) * time.Second}
	}
	for w := 0; w < p.Concurrency; w++ {
		workers.Add(1)
		go func(w int) {
			defer workers.Done()
			client := clients[w%p.Sessions]
			for i := w; i < len(p.Requests); i += p.Concurrency {
				if p.Wait {
					turn.Lock()
					_, err := stdin.ReadString('\n')
					turn.Unlock()
					if err != nil {
						return
					}
				}
				a := answer{ID: p.Requests[i].ID, PID: os.Getpid(), counts: map[string]int{}}
				start := time.Now()
				if err := send(p, client, p.Requests[i], &a); err != nil {
					a.Error = fmt.Sprintf("%T", err)
				}
				a.Ms = float64(time.Since(start).Microseconds()) / 1e3
				a.settle()
				emit(a)
			}
		}(w)
	}
	workers.Wait()
}

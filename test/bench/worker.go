package main

// The workers: processes that load locks, ours and others, all with the same program
// (peers/).

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workers load one locker, all at the same time.
type workers []*worker

// worker is a process that loads.
type worker struct {
	*process
	in  io.WriteCloser
	out *json.Decoder
}

// grace is how long a caller may go on waiting when the time is over; who then has no
// lock is stuck.
const grace = 10 * time.Second

// startWorkers starts so many of them for the lab's row. Together they have so many
// callers; these take one key if they hold it for a while, and otherwise each its own.
func (l *lab) startWorkers(which locker, n, callers int, hold time.Duration) (workers, error) {
	room, err := l.room()
	if err != nil {
		return nil, err
	}
	var all workers
	for i := range n {
		addr, err := which.server(l, i)
		if err != nil {
			return nil, err
		}
		args := []string{"--locks", which.key, "--addr", addr, "--callers", strconv.Itoa(callers / n), "--grace", grace.String()}
		if hold > 0 {
			args = append(args, "--hold", hold.String(), "--inside", room)
		}
		w, err := l.startWorker(args)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// room makes the file that counts who is inside.
func (l *lab) room() (string, error) {
	folder, err := l.subfolder()
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "inside")
	return file, os.WriteFile(file, make([]byte, 8), 0o600)
}

func (l *lab) startWorker(args []string) (*worker, error) {
	binary, err := l.peersBinary()
	if err != nil {
		return nil, err
	}
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := spawn(folder, cmd)
	if err != nil {
		return nil, err
	}
	l.row.add(p.stop)
	return &worker{p, in, json.NewDecoder(out)}, nil
}

// run lets the workers load for the interval and puts together what came out.
func (w workers) run(ctx context.Context, interval time.Duration) (result, error) {
	for _, each := range w {
		if _, err := fmt.Fprintln(each.in, interval); err != nil {
			return result{}, each.giveUp("hears nothing", err)
		}
	}
	var sum result
	for _, each := range w {
		r, err := each.answer(ctx, interval+grace+startTimeout)
		if err != nil {
			return result{}, err
		}
		sum.add(r)
	}
	return sum, nil
}

// answer waits for the worker's next result. A worker that has none in time is ended.
func (w *worker) answer(ctx context.Context, limit time.Duration) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })()
	if err = w.out.Decode(&r); err != nil {
		err = w.giveUp("does not answer", err)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r, err
}

// logs are what the workers have complained about.
func (w workers) logs() string {
	var all strings.Builder
	for _, each := range w {
		text, _ := os.ReadFile(each.log)
		all.Write(text)
	}
	return all.String()
}

// alone is the side where each caller has a lock of its own.
func alone(which locker, callers int) side {
	return side{which.name, func(ctx context.Context, l *lab) (sampler, error) {
		w, err := l.startWorkers(which, 1, callers, 0)
		if err != nil {
			return nil, err
		}
		sample := func(ctx context.Context) ([]float64, error) {
			r, err := w.run(ctx, l.interval())
			if trouble := r.trouble(); err == nil && trouble != "" {
				err = fmt.Errorf("%s\n%s", trouble, w.logs())
			}
			return []float64{r.perSecond()}, err
		}
		_, err = w.run(ctx, l.interval()/5) // to warm up
		return sample, err
	}}
}

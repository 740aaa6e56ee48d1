package main

// The workers: processes that load locks, ours and others, all with the same program (peers/).

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// locker is a lock as an app uses it: through a client library.
type locker struct {
	name   string // in the tables
	key    string // in the names of rows, and what a worker calls it
	server func(l *lab, worker int) (addr string, err error)
}

var (
	mortiseMemory = locker{"Mortise memory", "memory", firstMortise}
	mortiseRedis  = locker{"Mortise redis", "redis", eitherMortise}
	redsync       = locker{"redsync", "redsync", theRedis}
	redislock     = locker{"redislock", "redislock", theRedis}
	rueidislock   = locker{"rueidislock", "rueidislock", theRedis}
	etcdMutex     = locker{"etcd mutex", "etcd", theEtcd}
)

func firstMortise(l *lab, _ int) (string, error) { return target(l.mortise) }

// eitherMortise is a Mortise for each worker, on one Redis.
func eitherMortise(l *lab, worker int) (string, error) {
	return target([]func() (*process, error){l.mortise, l.second}[worker])
}

func theRedis(l *lab, _ int) (string, error) { return address(l.redis) }

func theEtcd(l *lab, _ int) (string, error) { return address(l.etcd) }

func address(server func() (*process, error)) (string, error) {
	p, err := server()
	if err != nil {
		return "", err
	}
	return p.addr, nil
}

// target is the address of a server on a Unix socket, for gRPC.
func target(server func() (*process, error)) (string, error) {
	addr, err := address(server)
	return "unix://" + addr, err
}

// workers load one locker, all at the same time.
type workers []*worker

// worker is a process that loads.
type worker struct {
	*process
	in  io.WriteCloser
	out *json.Decoder
}

// result is what came out of a worker, or of several, in microseconds. It is explained in peers/load.go.
type result struct {
	Took     int64
	Held     int64
	Waits    [][]int64
	Stuck    []int64
	Failed   int64
	Overlaps int64
}

// grace is how long a caller may go on waiting when the time is over; who then has no lock is stuck.
const grace = 10 * time.Second

// startWorkers starts so many of them for the lab's row. Together they have so many callers; these take one key if they
// hold it for a while, and otherwise each its own.
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

func (r *result) add(more result) {
	r.Took = max(r.Took, more.Took)
	r.Held += more.Held
	r.Waits = append(r.Waits, more.Waits...)
	r.Stuck = append(r.Stuck, more.Stuck...)
	r.Failed += more.Failed
	r.Overlaps += more.Overlaps
}

// grants is how often a lock was taken.
func (r *result) grants() int {
	n := 0
	for _, waits := range r.Waits {
		n += len(waits)
	}
	return n
}

// perSecond is how many locks were taken and given back in a second.
func (r *result) perSecond() float64 { return 1e6 * float64(r.grants()) / float64(r.Took) }

// handOver is how many microseconds nobody had the lock between two who had it, on average.
func (r *result) handOver() float64 { return float64(r.Took-r.Held) / float64(r.grants()) }

// wait is how many milliseconds the part p of all waits took at most, those included that led to nothing.
func (r *result) wait(p float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(slices.Concat(r.Waits...), r.Stuck)))
	if len(all) == 0 {
		return 0
	}
	return float64(all[int(p*float64(len(all)-1))]) / 1e3
}

// spread is how many grants the luckiest caller had for each of the unluckiest's.
func (r *result) spread() float64 {
	least, most := len(r.Waits[0]), len(r.Waits[0])
	for _, waits := range r.Waits {
		least, most = min(least, len(waits)), max(most, len(waits))
	}
	return float64(most) / float64(least) // +Inf if somebody had none
}

// trouble tells what must not happen.
func (r *result) trouble() string {
	var text bytes.Buffer
	tell := func(n int, what string) {
		if n > 0 {
			fmt.Fprintf(&text, "%d %s ", n, what)
		}
	}
	tell(int(r.Overlaps), "overlaps")
	tell(len(r.Stuck), "stuck")
	tell(int(r.Failed), "failed")
	return string(bytes.TrimSpace(text.Bytes()))
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
				err = fmt.Errorf("%s: %s", which.name, trouble)
			}
			return []float64{r.perSecond()}, err
		}
		_, err = w.run(ctx, l.interval()/5) // to warm up
		return sample, err
	}}
}

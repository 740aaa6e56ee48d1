package rtm

// states are what may be of a lock when ann calls.
const (
	absent       = "that does not exist"
	free         = "that is free"
	hers         = "that she holds"
	bobs         = "that bob holds"
	awaited      = "that bob holds and she waits for"
	hersAwaited  = "that she holds and cid waits for"
	bobsAwaited  = "that bob holds and cid waits for"
	twiceAwaited = "that bob holds and cid waits for, and then she"
)

// waits is the code of a call that has not ended.
const waits int32 = 1

// What becomes of those who wait.
const (
	goOn   int32 = waits
	get    int32 = 0
	gaveUp int32 = -14007
	gone   int32 = -14008
)

// row says what comes of a call that ann makes.
type row struct {
	call  string
	retry bool   // of acquireLock
	owner string // of revokeLock

	code  int32  // of the call
	after string // what getLock tells dora
	seen  string // what the channel's subscribers see
	heard string // what the sessions of ann, bob and cid hear, one after the other
	cid   int32  // what becomes of his waiting
	ann   int32  // what becomes of her waiting
	late  int32  // code of releaseLock, if who has held the lock calls it afterwards
}

// table is every call in every state.
var table = []struct {
	state string
	rows  []row
}{
	{absent, []row{
		{call: setLock, after: "free", seen: "SET"},
		{call: acquireLock, code: -14008, after: "absent"},
		{call: acquireLock, retry: true, code: -14008, after: "absent"},
		{call: releaseLock, code: -14008, after: "absent"},
		{call: revokeLock, code: -14008, after: "absent"},
		{call: revokeLock, owner: "ann", code: -14008, after: "absent"},
		{call: revokeLock, owner: "bob", code: -14008, after: "absent"},
		{call: getLock, after: "absent"},
		{call: removeLock, code: -14008, after: "absent"},
	}},
	{free, []row{
		{call: setLock, code: -14004, after: "free"},
		{call: acquireLock, after: "ann", seen: "ACQUIRED ann", heard: "ACQUIRED ann"},
		{call: acquireLock, retry: true, after: "ann", seen: "ACQUIRED ann", heard: "ACQUIRED ann"},
		{call: releaseLock, code: -14006, after: "free"},
		{call: revokeLock, code: -14006, after: "free"},
		{call: revokeLock, owner: "ann", code: -14006, after: "free"},
		{call: revokeLock, owner: "bob", code: -14006, after: "free"},
		{call: getLock, after: "free"},
		{call: removeLock, after: "absent", seen: "REMOVED"},
	}},
	{hers, []row{
		{call: setLock, code: -14004, after: "ann"},
		{call: acquireLock, code: -14003, after: "ann"},
		{call: acquireLock, retry: true, code: -14003, after: "ann"},
		{call: releaseLock, after: "free", seen: "RELEASED ann", heard: "RELEASED ann", late: -14006},
		{call: revokeLock, after: "free", seen: "RELEASED ann", heard: "RELEASED ann", late: -14006},
		{call: revokeLock, owner: "ann", after: "free", seen: "RELEASED ann", heard: "RELEASED ann", late: -14006},
		{call: revokeLock, owner: "bob", code: -14006, after: "ann"},
		{call: getLock, after: "ann"},
		{call: removeLock, after: "absent", seen: "REMOVED ann", heard: "REMOVED ann", late: -14008},
	}},
	{bobs, []row{
		{call: setLock, code: -14004, after: "bob"},
		{call: acquireLock, code: -14007, after: "bob"},
		{call: acquireLock, retry: true, code: waits, after: "bob", ann: goOn},
		{call: releaseLock, code: -14006, after: "bob"},
		{call: revokeLock, after: "free", seen: "RELEASED bob", heard: "RELEASED bob", late: -14006},
		{call: revokeLock, owner: "bob", after: "free", seen: "RELEASED bob", heard: "RELEASED bob", late: -14006},
		{call: revokeLock, owner: "ann", code: -14006, after: "bob"},
		{call: getLock, after: "bob"},
		{call: removeLock, after: "absent", seen: "REMOVED bob", heard: "REMOVED bob", late: -14008},
	}},
	{awaited, []row{
		{call: setLock, code: -14004, after: "bob", ann: goOn},
		{call: acquireLock, code: -14003, after: "bob", ann: goOn},
		{call: acquireLock, retry: true, code: -14003, after: "bob", ann: goOn},
		{call: releaseLock, after: "bob", ann: gaveUp},
		{call: revokeLock, after: "ann", ann: get,
			seen: "RELEASED bob, ACQUIRED ann", heard: "ACQUIRED ann, RELEASED bob", late: -14006},
		{call: revokeLock, owner: "bob", after: "ann", ann: get,
			seen: "RELEASED bob, ACQUIRED ann", heard: "ACQUIRED ann, RELEASED bob", late: -14006},
		{call: revokeLock, owner: "ann", code: -14006, after: "bob", ann: goOn},
		{call: getLock, after: "bob", ann: goOn},
		{call: removeLock, after: "absent", ann: gone, seen: "REMOVED bob", heard: "REMOVED bob", late: -14008},
	}},
	{hersAwaited, []row{
		{call: setLock, code: -14004, after: "ann", cid: goOn},
		{call: acquireLock, code: -14003, after: "ann", cid: goOn},
		{call: acquireLock, retry: true, code: -14003, after: "ann", cid: goOn},
		{call: releaseLock, after: "cid", cid: get,
			seen: "RELEASED ann, ACQUIRED cid", heard: "RELEASED ann, ACQUIRED cid", late: -14006},
		{call: revokeLock, after: "cid", cid: get,
			seen: "RELEASED ann, ACQUIRED cid", heard: "RELEASED ann, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "ann", after: "cid", cid: get,
			seen: "RELEASED ann, ACQUIRED cid", heard: "RELEASED ann, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "cid", code: -14006, after: "ann", cid: goOn},
		{call: getLock, after: "ann", cid: goOn},
		{call: removeLock, after: "absent", cid: gone, seen: "REMOVED ann", heard: "REMOVED ann", late: -14008},
	}},
	{bobsAwaited, []row{
		{call: setLock, code: -14004, after: "bob", cid: goOn},
		{call: acquireLock, code: -14007, after: "bob", cid: goOn},
		{call: acquireLock, retry: true, code: waits, after: "bob", cid: goOn, ann: goOn},
		{call: releaseLock, code: -14006, after: "bob", cid: goOn},
		{call: revokeLock, after: "cid", cid: get,
			seen: "RELEASED bob, ACQUIRED cid", heard: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "bob", after: "cid", cid: get,
			seen: "RELEASED bob, ACQUIRED cid", heard: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "cid", code: -14006, after: "bob", cid: goOn},
		{call: getLock, after: "bob", cid: goOn},
		{call: removeLock, after: "absent", cid: gone, seen: "REMOVED bob", heard: "REMOVED bob", late: -14008},
	}},
	{twiceAwaited, []row{
		{call: setLock, code: -14004, after: "bob", cid: goOn, ann: goOn},
		{call: acquireLock, code: -14003, after: "bob", cid: goOn, ann: goOn},
		{call: acquireLock, retry: true, code: -14003, after: "bob", cid: goOn, ann: goOn},
		{call: releaseLock, after: "bob", cid: goOn, ann: gaveUp},
		{call: revokeLock, after: "cid", cid: get, ann: goOn,
			seen: "RELEASED bob, ACQUIRED cid", heard: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "bob", after: "cid", cid: get, ann: goOn,
			seen: "RELEASED bob, ACQUIRED cid", heard: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "cid", code: -14006, after: "bob", cid: goOn, ann: goOn},
		{call: getLock, after: "bob", cid: goOn, ann: goOn},
		{call: removeLock, after: "absent", cid: gone, ann: gone, seen: "REMOVED bob", heard: "REMOVED bob", late: -14008},
	}},
}

// name is the row as a sentence.
func (r row) name(state string) string {
	name := "ann calls " + r.call
	if r.retry {
		name += " with retry"
	}
	if r.owner != "" {
		name += " from " + r.owner
	}
	return name + " of a lock " + state
}

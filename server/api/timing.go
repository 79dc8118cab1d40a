package api

import "time"

// A timing says how long the API waits for what.
type timing struct {
	ready  time.Duration // for a session to become ready
	poll   time.Duration // between two looks whether it is
	ping   time.Duration // between two signs of life on a stream
	touch  time.Duration // between two notes that a session has a reader
	write  time.Duration // for a client to take what is written
	begin  time.Duration // for a turn to begin, before its stream does
	answer time.Duration // for the reply of a turn that is over to be read
	grace  time.Duration // for the last events of a turn that is over
	stream time.Duration // how long GET …/stream lasts at most
	events time.Duration // … GET …/events
	turn   time.Duration // … POST …/message_stream
	thread time.Duration // for the thread that a log is made from
	output time.Duration // for what a sandbox printed
	look   time.Duration // for a look at a sandbox from outside
}

var defaultTiming = timing{
	ready: time.Minute, poll: 250 * time.Millisecond, ping: 15 * time.Second, touch: time.Minute, write: 30 * time.Second,
	begin: time.Second, answer: 250 * time.Millisecond, grace: 5 * time.Second, stream: 30 * time.Minute, events: 10 * time.Minute, turn: 30 * time.Minute,
	thread: 5 * time.Second, output: 10 * time.Second, look: 15 * time.Second,
}

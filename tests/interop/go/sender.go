package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const (
	batchMessages = 16
	maxInFlight   = 128
	// Between a refused send and the next one, so that a broker that is away is not hammered.
	pauseAfterFailure = 50 * time.Millisecond
)

type sender struct {
	topic, name, mode, sizes string
	count, level, groups     int
	tags                     []string
	timeout                  time.Duration
	producer                 rocketmq.Producer
	inFlight                 chan struct{}
}

func send(o options) {
	s := &sender{
		topic: o.text("topic"), name: o.text("sender"), mode: o.text("mode"), sizes: o.or("sizes", "small"),
		count: o.number("count", 1), level: o.number("level", 1), groups: o.number("groups", 1), tags: strings.Split(o.or("tags", "A"), ","),
		timeout:  time.Duration(o.number("timeout", 10000)) * time.Millisecond,
		inFlight: make(chan struct{}, maxInFlight),
	}
	options := []producer.Option{
		producer.WithNameServer([]string{o.text("namesrv")}),
		producer.WithGroupName(o.or("group", "interop-"+s.name)),
		producer.WithInstanceName(s.name),
		producer.WithSendMsgTimeout(s.timeout),
		producer.WithRetry(2),
	}
	if s.mode == "ordered" {
		options = append(options, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	}
	made, err := rocketmq.NewProducer(options...)
	if err != nil {
		fatal(err.Error())
	}
	s.producer = made
	if err := s.producer.Start(); err != nil {
		fatal(err.Error())
	}
	var stopped atomic.Bool
	told := make(chan struct{})
	go func() {
		awaitStop()
		stopped.Store(true)
		close(told)
	}()
	say("ready")
	if s.mode == "request" {
		// Replies reach producers the broker has heard of. This client says who it is at once only when a request's topic
		// is not known, else with the next heartbeat, half a minute later.
		unknown := message(s.topic+"-unknown", "A", "warm-up", 0, "small")
		if err := s.producer.RequestAsync(context.Background(), time.Second, nil, unknown); err != nil {
			fatal(err.Error())
		}
	}
	step := 1
	if s.mode == "batch" {
		step = batchMessages
	}
	interval := time.Duration(o.number("interval", 0)) * time.Millisecond
	for index := 0; index < s.count && !stopped.Load(); index += step {
		if err := s.send(index); err != nil {
			s.failed(index, err)
			time.Sleep(pauseAfterFailure)
			if s.mode == "ordered" {
				// What follows in its group must not overtake it.
				index -= step
			}
		}
		time.Sleep(interval)
	}
	for i := 0; i < maxInFlight; i++ {
		s.inFlight <- struct{}{}
	}
	if s.mode == "request" {
		// The broker is told of each reply that it has come; who leaves at once leaves the last replier with an error.
		<-told
	}
	if s.mode == "oneway" {
		// A connection that is closed with an answer unread (of a heartbeat) takes along what the broker has not read yet. The
		// answer to one more message, which no report shows, says that it has read everything.
		_, _ = s.producer.SendSync(context.Background(), message(s.topic, "A", "warm-up", 0, "small"))
	}
	_ = s.producer.Shutdown()
	say("done")
}

func (s *sender) send(index int) error {
	background := context.Background()
	switch s.mode {
	case "sync":
		message := s.message(index)
		result, err := s.producer.SendSync(background, message)
		if err != nil {
			return err
		}
		s.accepted(message, index, 0, result)
	case "async":
		s.inFlight <- struct{}{}
		message := s.message(index)
		err := s.producer.SendAsync(background, func(_ context.Context, result *primitive.SendResult, err error) {
			if err != nil {
				s.failed(index, err)
			} else {
				s.accepted(message, index, 0, result)
			}
			<-s.inFlight
		}, message)
		if err != nil {
			<-s.inFlight
			return err
		}
	case "level":
		message := s.message(index)
		message.WithDelayTimeLevel(s.level)
		result, err := s.producer.SendSync(background, message)
		if err != nil {
			return err
		}
		if result.Status != primitive.SendOK {
			return fmt.Errorf("status %d", result.Status)
		}
		// Where it will lie is not known yet.
		s.report(message, index, -1, -1)
	case "ordered":
		message := s.message(index)
		message.WithShardingKey("g" + strconv.Itoa(index%s.groups))
		result, err := s.producer.SendSync(background, message)
		if err != nil {
			return err
		}
		if result.Status != primitive.SendOK {
			return fmt.Errorf("status %d", result.Status)
		}
		s.report(message, index, result.MessageQueue.QueueId, result.QueueOffset)
	case "request":
		message := s.message(index)
		reply, err := s.producer.Request(background, s.timeout, message)
		if err != nil {
			return err
		}
		if string(reply.Body) != sum(body(s.sizes, index)) {
			say("bad", "reply", oneLine(string(reply.Body)), "to", index)
		}
		s.report(message, index, -1, -1)
	case "oneway":
		message := s.message(index)
		if err := s.producer.SendOneWay(background, message); err != nil {
			return err
		}
		s.report(message, index, -1, -1)
	case "batch":
		var batch []*primitive.Message
		for i := index; i < index+batchMessages && i < s.count; i++ {
			batch = append(batch, s.message(i))
		}
		result, err := s.producer.SendSync(background, batch...)
		if err != nil {
			return err
		}
		for i, message := range batch {
			s.accepted(message, index+i, i, result)
		}
	case "empty":
		message := primitive.NewMessage(s.topic, []byte{})
		if _, err := s.producer.SendSync(background, message); err != nil {
			return err
		}
		say("ack", s.name, index, 0, "00000000", "-", -1, -1, 0)
	default:
		fatal("unknown mode " + s.mode)
	}
	return nil
}

func (s *sender) message(index int) *primitive.Message {
	return message(s.topic, s.tags[index%len(s.tags)], s.name, index, s.sizes)
}

func message(topic, tag, name string, index int, sizes string) *primitive.Message {
	message := primitive.NewMessage(topic, body(sizes, index))
	message.WithTag(tag).WithKeys([]string{name + "-" + strconv.Itoa(index)})
	message.WithProperty("sender", name)
	message.WithProperty("index", strconv.Itoa(index))
	message.WithProperty("sentAt", strconv.FormatInt(time.Now().UnixMilli(), 10))
	message.WithProperty("note", note)
	return message
}

func (s *sender) accepted(message *primitive.Message, index, place int, result *primitive.SendResult) {
	if result.Status != primitive.SendOK {
		say("fail", s.name, index, result.Status)
		return
	}
	s.report(message, index, result.MessageQueue.QueueId, result.QueueOffset+int64(place))
}

func (s *sender) report(message *primitive.Message, index, queue int, offset int64) {
	report("ack", s.name, index, body(s.sizes, index), message.GetTags(), queue, offset)
}

func report(event, name string, index int, bytes []byte, tag string, queue int, offset int64) {
	say(event, name, index, len(bytes), sum(bytes), tag, queue, offset, time.Now().UnixMilli())
}

func (s *sender) failed(index int, err error) {
	say("fail", s.name, index, oneLine(err.Error()))
}

package main

import (
	"context"
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
	count                    int
	tags                     []string
	producer                 rocketmq.Producer
	inFlight                 chan struct{}
}

func send(o options) {
	s := &sender{
		topic: o.text("topic"), name: o.text("sender"), mode: o.text("mode"), sizes: o.or("sizes", "small"),
		count: o.number("count", 1), tags: strings.Split(o.or("tags", "A"), ","),
		inFlight: make(chan struct{}, maxInFlight),
	}
	made, err := rocketmq.NewProducer(
		producer.WithNameServer([]string{o.text("namesrv")}),
		producer.WithGroupName(o.or("group", "interop-"+s.name)),
		producer.WithInstanceName(s.name),
		producer.WithSendMsgTimeout(time.Duration(o.number("timeout", 10000))*time.Millisecond),
		producer.WithRetry(2),
	)
	if err != nil {
		fatal(err.Error())
	}
	s.producer = made
	if err := s.producer.Start(); err != nil {
		fatal(err.Error())
	}
	var stopped atomic.Bool
	go func() {
		awaitStop()
		stopped.Store(true)
	}()
	say("ready")
	step := 1
	if s.mode == "batch" {
		step = batchMessages
	}
	interval := time.Duration(o.number("interval", 0)) * time.Millisecond
	for index := 0; index < s.count && !stopped.Load(); index += step {
		if err := s.send(index); err != nil {
			s.failed(index, err)
			time.Sleep(pauseAfterFailure)
		}
		time.Sleep(interval)
	}
	for i := 0; i < maxInFlight; i++ {
		s.inFlight <- struct{}{}
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
	message := primitive.NewMessage(s.topic, body(s.sizes, index))
	message.WithTag(s.tags[index%len(s.tags)]).WithKeys([]string{s.name + "-" + strconv.Itoa(index)})
	message.WithProperty("sender", s.name)
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
	bytes := body(s.sizes, index)
	say("ack", s.name, index, len(bytes), sum(bytes), message.GetTags(), queue, offset, time.Now().UnixMilli())
}

func (s *sender) failed(index int, err error) {
	say("fail", s.name, index, oneLine(err.Error()))
}

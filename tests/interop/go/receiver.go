package main

import (
	"context"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// receive reports everything a push consumer is given, until it is told to stop.
func receive(o options) {
	made, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer([]string{o.text("namesrv")}),
		consumer.WithGroupName(o.text("group")),
		consumer.WithInstance(o.or("name", "receiver")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(o.or("listener", "concurrent") == "orderly"),
	)
	if err != nil {
		fatal(err.Error())
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: o.or("expression", "*")}
	err = made.Subscribe(o.text("topic"), selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		report(messages)
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		fatal(err.Error())
	}
	if err := made.Start(); err != nil {
		fatal(err.Error())
	}
	say("ready")
	awaitStop()
	_ = made.Shutdown()
	say("done")
}

func report(messages []*primitive.MessageExt) {
	now := time.Now().UnixMilli()
	for _, message := range messages {
		if message.GetProperty("note") != note {
			say("bad", "note", message.GetProperty("note"), "of", oneLine(message.String()))
		}
		sentAt, _ := strconv.ParseInt(message.GetProperty("sentAt"), 10, 64)
		say("got", message.GetProperty("sender"), message.GetProperty("index"), len(message.Body), sum(message.Body),
			message.GetTags(), message.Queue.QueueId, message.QueueOffset, now-sentAt)
	}
}

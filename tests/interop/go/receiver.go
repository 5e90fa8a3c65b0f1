package main

import (
	"context"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// receive reports everything a push consumer is given, until it is told to stop.
func receive(o options) {
	orderly := o.or("listener", "concurrent") == "orderly"
	made, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer([]string{o.text("namesrv")}),
		consumer.WithGroupName(o.text("group")),
		consumer.WithInstance(o.or("name", "receiver")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(orderly),
	)
	if err != nil {
		fatal(err.Error())
	}
	var replier rocketmq.Producer
	if o.or("reply", "false") == "true" {
		replier = startReplier(o)
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: o.or("expression", "*")}
	err = made.Subscribe(o.text("topic"), selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if orderly {
			for _, message := range messages {
				say("turn", message.GetProperty("sender"), message.GetProperty("index"), time.Now().UnixMilli())
			}
		}
		if replier != nil {
			replyTo(replier, messages)
		}
		reportAll(messages)
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
	if replier != nil {
		_ = replier.Shutdown()
	}
	say("done")
}

func startReplier(o options) rocketmq.Producer {
	made, err := rocketmq.NewProducer(
		producer.WithNameServer([]string{o.text("namesrv")}),
		producer.WithGroupName(o.text("group")+"-replies"),
		producer.WithInstanceName(o.or("name", "receiver")+"-replies"),
	)
	if err != nil {
		fatal(err.Error())
	}
	if err := made.Start(); err != nil {
		fatal(err.Error())
	}
	return made
}

// replyTo answers those that are requests.
func replyTo(replier rocketmq.Producer, messages []*primitive.MessageExt) {
	for _, message := range messages {
		if message.GetProperty(primitive.PropertyCorrelationID) == "" {
			continue
		}
		content := []byte(sum(message.Body))
		reply, err := consumer.CreateReplyMessage(message, content)
		if err == nil {
			// What the client takes for the body it reads as properties.
			reply.Body = content
			_, err = replier.SendSync(context.Background(), reply)
		}
		if err != nil {
			say("bad", "reply", oneLine(err.Error()))
		}
	}
}

func reportAll(messages []*primitive.MessageExt) {
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

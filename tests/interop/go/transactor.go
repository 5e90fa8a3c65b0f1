package main

import (
	"context"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// transactor ends even transactions with a commit and odd ones with a rollback; of every four the last two only when
// they are checked. With hang=check all wait for a check, and no check is ever answered; with hang=local no local transaction
// ends either.
type transactor struct {
	hang string
}

func (t transactor) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	index, _ := strconv.Atoi(message.GetProperty("index"))
	say("half", message.GetProperty("sender"), index)
	if t.hang == "local" {
		select {}
	}
	if t.hang == "check" || index%4 >= 2 {
		return primitive.UnknowState
	}
	return end(index)
}

func (t transactor) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	index, _ := strconv.Atoi(message.GetProperty("index"))
	say("checked", message.GetProperty("sender"), index)
	if t.hang != "never" {
		select {}
	}
	return end(index)
}

func end(index int) primitive.LocalTransactionState {
	if index%2 == 0 {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

// transact sends `count` transactional messages and answers checks until it is told to stop.
func transact(o options) {
	topic, name, sizes := o.text("topic"), o.text("sender"), o.or("sizes", "small")
	made, err := rocketmq.NewTransactionProducer(
		transactor{hang: o.or("hang", "never")},
		producer.WithNameServer([]string{o.text("namesrv")}),
		producer.WithGroupName(o.or("group", "interop-"+name)),
		producer.WithInstanceName(name),
		producer.WithSendMsgTimeout(time.Duration(o.number("timeout", 10000))*time.Millisecond),
	)
	if err != nil {
		fatal(err.Error())
	}
	if err := made.Start(); err != nil {
		fatal(err.Error())
	}
	say("ready")
	for index := 0; index < o.number("count", 1); index++ {
		message := message(topic, "A", name, index, sizes)
		result, err := made.SendMessageInTransaction(context.Background(), message)
		switch {
		case err != nil:
			say("fail", name, index, oneLine(err.Error()))
		case result.Status != primitive.SendOK:
			say("fail", name, index, result.Status)
		default:
			report("ack", name, index, body(sizes, index), "A", -1, -1)
		}
	}
	awaitStop()
	_ = made.Shutdown()
	say("done")
}

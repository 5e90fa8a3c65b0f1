package interop;

import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** A push consumer that reports everything it is given, until it is told to stop. */
final class Receiver {
    private final DefaultMQPushConsumer consumer;

    Receiver(Options options) throws Exception {
        consumer = new DefaultMQPushConsumer(options.text("group"));
        consumer.setNamesrvAddr(options.text("namesrv"));
        consumer.setInstanceName(options.text("name", "receiver"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setHeartbeatBrokerInterval(5000);
        consumer.subscribe(options.text("topic"), options.text("expression", "*"));
        if (options.text("listener", "concurrent").equals("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                report(messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                report(messages);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
    }

    void run() throws Exception {
        consumer.start();
        Lines.say("ready");
        Lines.awaitStop();
        consumer.shutdown();
        Lines.say("done");
    }

    private static void report(List<MessageExt> messages) {
        long now = System.currentTimeMillis();
        for (MessageExt message : messages) {
            if (!Sender.NOTE.equals(message.getUserProperty("note"))) {
                Lines.say("bad", "note", message.getUserProperty("note"), "of", message);
            }
            Lines.say("got", message.getUserProperty("sender"), message.getUserProperty("index"),
                message.getBody().length, Bodies.sum(message.getBody()), message.getTags(), message.getQueueId(),
                message.getQueueOffset(), now - Long.parseLong(message.getUserProperty("sentAt")));
        }
    }
}

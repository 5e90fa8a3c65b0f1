package interop;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** A push consumer that reports everything it is given, until it is told to stop. */
final class Receiver {
    private final DefaultMQPushConsumer consumer;
    /** Answers requests; null where there is nothing to answer. */
    private final DefaultMQProducer replier;

    Receiver(Options options) throws Exception {
        consumer = new DefaultMQPushConsumer(options.text("group"));
        consumer.setNamesrvAddr(options.text("namesrv"));
        consumer.setInstanceName(options.text("name", "receiver"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setMqClientApiTimeout(Interop.PATIENCE_MS);
        consumer.setHeartbeatBrokerInterval(5000);
        consumer.subscribe(options.text("topic"), options.text("expression", "*"));
        if (options.text("reply", "false").equals("true")) {
            replier = new DefaultMQProducer(options.text("group") + "-replies");
            replier.setNamesrvAddr(options.text("namesrv"));
            replier.setInstanceName(options.text("name", "receiver"));
            replier.setMqClientApiTimeout(Interop.PATIENCE_MS);
            // Who asked may take its time.
            replier.setSendMsgTimeout(60_000);
        } else {
            replier = null;
        }
        if (options.text("listener", "concurrent").equals("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                for (MessageExt message : messages) {
                    Lines.say("turn", message.getUserProperty("sender"), message.getUserProperty("index"),
                        System.currentTimeMillis());
                }
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
        if (replier != null) {
            replier.start();
        }
        consumer.start();
        Lines.say("ready");
        Lines.awaitStop();
        consumer.shutdown();
        if (replier != null) {
            replier.shutdown();
        }
        Lines.say("done");
    }

    private void report(List<MessageExt> messages) {
        long now = System.currentTimeMillis();
        for (MessageExt message : messages) {
            if (!Sender.NOTE.equals(message.getUserProperty("note"))) {
                Lines.say("bad", "note", message.getUserProperty("note"), "of", message);
            }
            if (replier != null && message.getProperty(MessageConst.PROPERTY_CORRELATION_ID) != null && !reply(message)) {
                continue;
            }
            Lines.say("got", message.getUserProperty("sender"), message.getUserProperty("index"),
                message.getBody().length, Bodies.sum(message.getBody()), message.getTags(), message.getQueueId(),
                message.getQueueOffset(), now - Long.parseLong(message.getUserProperty("sentAt")));
        }
    }

    /** False when who asked is gone, and the message is reported already. */
    private boolean reply(MessageExt message) {
        byte[] sum = Bodies.sum(message.getBody()).getBytes(StandardCharsets.UTF_8);
        try {
            SendResult result = replier.send(MessageUtil.createReplyMessage(message, sum));
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                Lines.say("bad", "reply", result);
            }
        } catch (Exception refused) {
            // After some attempts the client says what the last one failed with.
            Throwable last = refused.getCause() == null ? refused : refused.getCause();
            if (last instanceof MQBrokerException && last.getMessage().contains("push reply message")) {
                Lines.say("orphan", message.getUserProperty("sender"), message.getUserProperty("index"),
                    Lines.oneLine(last.getMessage()));
                return false;
            }
            Lines.say("bad", "reply", Lines.oneLine(refused));
        }
        return true;
    }
}

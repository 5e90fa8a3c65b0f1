package interop;

import java.util.List;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends `count` transactional messages and answers checks until it is told to stop. Even ones commit, odd ones roll
 * back; of every four the last two do so when they are checked. With hang=check all wait for a check, and no check is ever
 * answered; with hang=local no local transaction ends either.
 */
final class Transactor implements TransactionListener {
    private final String topic;
    private final String sender;
    private final String sizes;
    private final int count;
    private final String hang;
    private final TransactionMQProducer producer;

    Transactor(Options options) {
        topic = options.text("topic");
        sender = options.text("sender");
        sizes = options.text("sizes", "small");
        count = options.number("count", 1);
        hang = options.text("hang", "never");
        // With the topic it knows brokers, and they it, before it sends anything.
        producer = new TransactionMQProducer(options.text("group", "interop-" + sender), List.of(topic));
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setInstanceName(sender);
        producer.setPollNameServerInterval(1000);
        producer.setHeartbeatBrokerInterval(1000);
        producer.setMqClientApiTimeout(Interop.PATIENCE_MS);
        producer.setSendMsgTimeout(options.number("timeout", 10_000));
        producer.setTransactionListener(this);
    }

    void run() throws Exception {
        producer.start();
        Lines.say("ready");
        for (int index = 0; index < count; index++) {
            try {
                Message message = Sender.message(topic, "A", sender, index, sizes);
                TransactionSendResult result = producer.sendMessageInTransaction(message, index);
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    Sender.report("ack", sender, index, Bodies.body(sizes, index), "A", -1, -1);
                } else {
                    Lines.say("fail", sender, index, result.getSendStatus());
                }
            } catch (Exception refused) {
                Lines.say("fail", sender, index, Lines.oneLine(refused));
            }
        }
        Lines.awaitStop();
        producer.shutdown();
        Lines.say("done");
    }

    @Override
    public LocalTransactionState executeLocalTransaction(Message message, Object index) {
        Lines.say("half", sender, index);
        if (hang.equals("local")) {
            hang();
        }
        boolean later = hang.equals("check") || (int) index % 4 >= 2;
        return later ? LocalTransactionState.UNKNOW : end((int) index);
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt message) {
        String index = message.getUserProperty("index");
        Lines.say("checked", message.getUserProperty("sender"), index);
        if (!hang.equals("never")) {
            hang();
        }
        return end(Integer.parseInt(index));
    }

    private static void hang() {
        while (true) {
            try {
                Thread.sleep(1_000);
            } catch (InterruptedException again) {
                // It hangs.
            }
        }
    }

    private static LocalTransactionState end(int index) {
        return index % 2 == 0 ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
    }
}

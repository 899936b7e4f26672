import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/** A name node and one data node of HDFS in one process: `java -cp … MiniHdfs.java <http port> <directory>`. */
public class MiniHdfs {
  public static void main(String[] args) throws Exception {
    Configuration conf = new Configuration();
    conf.set("dfs.namenode.fs-limits.min-block-size", "1024");
    conf.setBoolean("dfs.permissions.enabled", true);
    MiniDFSCluster cluster = new MiniDFSCluster.Builder(conf, new File(args[1], "hdfs"))
        .nameNodeHttpPort(Integer.parseInt(args[0]))
        .numDataNodes(1)
        .build();
    cluster.waitActive();
    System.out.println("ready");
    Thread.sleep(Long.MAX_VALUE);
  }
}

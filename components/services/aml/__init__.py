"""Azure ML through azureml-core, in a process of its own.

The SDK wants files below its working directory, keeps caches in HOME, takes a second to import and is past its end of support;
none of that may reach the Pulumi program. `client.call` starts `worker`, which runs one of `operations` and answers in JSON lines.
"""
